// Task calls on their way out of a thread: what is function becomes data on one side, and a call again on the other.
import { definitionOf, withDefinition, type Definition } from "../definition.ts";
import { OmniQError } from "../errors.ts";
import type { AnyHandle } from "../handle.ts";
import { jsonSerializer } from "../serializer.ts";
import type { TaskCall } from "../task-definition.ts";
import { parseWith } from "../standard-schema.ts";
import type { PlainCall, PlainSource } from "./remote-protocol.ts";

type Keyed = { readonly key: unknown };

/** Checks the input and computes the keys here, where the definition is. */
export async function plainCall(call: TaskCall<unknown>): Promise<PlainCall> {
  const definition = definitionOf(call.task);
  if (definition === undefined)
    throw new OmniQError("OMNIQ_INVALID_OPTION", "enqueue takes a task from defineTask(...)");
  const parsed = await parseWith(definition.input, call.input, `The input of task ${JSON.stringify(definition.name)}`);
  const { dependsOn, after, ...given } = call.options as Record<string, unknown> & {
    dependsOn?: Record<string, unknown>;
    after?: readonly unknown[];
  };
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(definition.options)) if (value !== undefined) options[key] = value;
  // A time of the call's replaces the definition's of the same kind, as it would on the other side.
  if (given["runAt"] !== undefined || given["delayMs"] !== undefined) delete options["delayMs"];
  if (given["expiresAt"] !== undefined || given["expiresInMs"] !== undefined) delete options["expiresInMs"];
  for (const key of ["deduplicate", "group"] as const) {
    const own = options[key] as Keyed | undefined;
    if (own !== undefined && typeof own.key === "function")
      options[key] = { ...own, key: (own.key as (input: unknown) => unknown)(parsed) };
  }
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    options[key] =
      key === "retry" || key === "headers" ? { ...(options[key] as object | undefined), ...(value as object) } : value;
  }
  const slots: Record<string, PlainSource | readonly PlainSource[]> = {};
  for (const [name, source] of Object.entries(dependsOn ?? {})) {
    slots[name] = Array.isArray(source) ? await Promise.all(source.map(plainSource)) : await plainSource(source);
  }
  return {
    name: definition.name,
    input: jsonSerializer.serialize(call.input),
    options,
    slots: definition.slots,
    dependsOn: dependsOn === undefined ? undefined : slots,
    after: after === undefined ? undefined : await Promise.all(after.map(plainSource)),
  };
}

async function plainSource(source: unknown): Promise<PlainSource> {
  if (typeof source === "string") return { taskId: source };
  if (definitionOf((source as { task?: unknown } | null)?.task) !== undefined)
    return { call: await plainCall(source as TaskCall<unknown>) };
  return { taskId: String((source as { id?: unknown } | null)?.id) };
}

/** A call as the client takes it. Its input was checked where it came from. */
export function callOf(plain: PlainCall): TaskCall<unknown> {
  const definition: Definition = {
    name: plain.name,
    input: undefined,
    output: undefined,
    slots: plain.slots,
    options: {},
    handler: undefined,
  };
  const options: Record<string, unknown> = { ...plain.options };
  if (plain.dependsOn !== undefined) {
    options["dependsOn"] = Object.fromEntries(
      Object.entries(plain.dependsOn).map(([name, source]) => [
        name,
        Array.isArray(source) ? source.map((one: PlainSource) => sourceOf(one)) : sourceOf(source as PlainSource),
      ]),
    );
  }
  if (plain.after !== undefined)
    options["after"] = plain.after.map((source) => ("taskId" in source ? source.taskId : sourceOf(source)));
  return {
    task: withDefinition({ name: plain.name }, definition) as never,
    input: jsonSerializer.deserialize(plain.input),
    options,
  };
}

function sourceOf(source: PlainSource): TaskCall<unknown> | AnyHandle {
  // A dependency needs only the id of a handle.
  return "call" in source
    ? callOf(source.call)
    : ({
        id: source.taskId,
        result: () => Promise.reject(new OmniQError("OMNIQ_UNSUPPORTED", "Only an id")),
      } as unknown as AnyHandle);
}
