// A task as it crosses to the thread or process that runs its handler.
import type { Serializer } from "../serializer.ts";
import { jsonSerializer } from "../serializer.ts";
import type { Context, Execution } from "./execution.ts";
import { AttemptFailed } from "./failures.ts";
import type { RemoteTask } from "./remote-protocol.ts";

/** Another serializer cannot cross: texts are made anew on this side. Throws {@link AttemptFailed}, for good, where one cannot be read. */
export function remoteTask(execution: Execution, context: Context, serializer: Serializer): RemoteTask {
  const { task } = execution.lease;
  const { name, queue, attempt, maxAttempts, enqueuedAt, headers } = context;
  const own = (what: string, text: string): string => {
    if (serializer === jsonSerializer) return text;
    try {
      return jsonSerializer.serialize(serializer.deserialize(text));
    } catch (cause) {
      throw new AttemptFailed(
        "OMNIQ_SERIALIZATION_FAILED",
        `${what} of ${task.id} (${name}) cannot be read, or cannot cross to another thread; producers and workers need the same serializer`,
        { cause, taskId: task.id, permanent: true },
      );
    }
  };
  // What a queue wrote by itself is plain JSON, which a serializer of the user's may not read.
  const ownError = (text: string): string => {
    try {
      return own("An error", text);
    } catch {
      return text;
    }
  };
  const dependencies = execution.lease.dependencies.map((one) => ({
    ...one,
    value: one.value === undefined ? undefined : own("A dependency", one.value),
    error: one.error === undefined ? undefined : ownError(one.error),
  }));
  return {
    id: task.id,
    name,
    queue,
    attempt,
    maxAttempts,
    enqueuedAt,
    headers,
    payload: own("The payload", task.payload),
    slots: execution.envelope.slots,
    dependencies,
  };
}
