// Type test: a program that a user would write must compile (wrapper).
import { OmniQ, type TaskDefinition, type TaskHandle, type TaskArguments, type TaskCall } from "@omniq/core";
declare const omniq: OmniQ;
export async function a<Input, Output, Parsed>(
  task: TaskDefinition<Input, Output, Parsed>,
  input: Input,
): Promise<TaskHandle<Output>> {
  return await omniq.enqueue(task, input, { headers: { tenant: "x" } });
}
export async function b<Input, Output, Parsed, Slots>(
  task: TaskDefinition<Input, Output, Parsed, Slots>,
  ...args: TaskArguments<Input, Slots>
): Promise<TaskHandle<Output>> {
  return await omniq.enqueue(task, ...args);
}
export async function c<Output>(call: TaskCall<Output>): Promise<TaskHandle<Output>> {
  const [handle] = await omniq.enqueueMany([call]);
  return handle;
}
