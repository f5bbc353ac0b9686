// The worker's side of what handlers in threads and processes say and ask: log lines, progress, and calls that only this side can make.
import { OmniQError } from "../errors.ts";
import type { TaskHandle } from "../handle.ts";
import type { Runtime } from "../runtime.ts";
import { jsonSerializer } from "../serializer.ts";
import { copyThrown, textOf } from "./error-copy.ts";
import type { Context } from "./execution.ts";
import { callOf } from "./remote-calls.ts";
import type { FromRemote, RemoteCall, ToRemote } from "./remote-protocol.ts";

/** So many handles are kept for later questions of handlers; old ones give way. */
const maxHandles = 10_000;

export class RemoteHost {
  readonly #runtime: Runtime;
  readonly #handles = new Map<string, TaskHandle<unknown>>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Whatever stands in the message: it never throws, and leaves no rejection behind. */
  receive(message: FromRemote, contexts: readonly Context[], answer: (message: ToRemote) => void): void {
    if (message.type === "call") {
      void this.#answer(message.omniq, message.call, message.what, answer);
      return;
    }
    const context = contexts[message.index] ?? contexts[0];
    if (context === undefined) return;
    try {
      if (message.type === "progress") context.progress(message.fraction, message.message);
      else {
        const fields = message.fields === undefined ? undefined : jsonSerializer.deserialize(message.fields);
        context.log[message.level](
          message.message,
          typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>) : undefined,
        );
      }
    } catch (error) {
      this.#runtime.logger.warn("What a handler said cannot be read and is left out", { taskId: context.id, error });
    }
  }

  async #answer(omniq: number, call: number, what: RemoteCall, answer: (message: ToRemote) => void): Promise<void> {
    const reply = (ok: boolean, value: unknown): void =>
      answer({ omniq, type: "answer", call, ok, value: jsonSerializer.serialize(value) });
    try {
      reply(true, await this.#call(what));
    } catch (error) {
      try {
        reply(false, copyThrown(error));
      } catch {
        // The thread or process is gone, and nobody waits for the answer.
      }
    }
  }

  async #call(what: RemoteCall): Promise<unknown> {
    if (what.verb === "enqueue") {
      const calls = what.calls.map(callOf);
      const handles = what.many
        ? ((await this.#runtime.enqueueMany(calls)) as readonly TaskHandle<unknown>[])
        : [
            await (
              this.#runtime.enqueue as (task: unknown, input: unknown, options: unknown) => Promise<TaskHandle<unknown>>
            )(calls[0]?.task, calls[0]?.input, calls[0]?.options),
          ];
      for (const handle of handles) {
        this.#handles.set(handle.id, handle);
        if (this.#handles.size > maxHandles) this.#handles.delete(this.#handles.keys().next().value as string);
      }
      return handles.map(({ id, deduplicated }) => ({ id, deduplicated }));
    }
    const handle = this.#handles.get(what.taskId);
    if (handle === undefined)
      throw new OmniQError(
        "OMNIQ_TASK_NOT_FOUND",
        `The handle of ${textOf(what.taskId)} is too old; wait for results outside of the handler`,
        { taskId: textOf(what.taskId) },
      );
    if (what.verb === "status") return await handle.status();
    if (what.verb === "cancel") return await handle.cancel();
    if (what.verb === "result" || what.verb === "outcome")
      return await handle[what.verb]({ timeoutMs: what.timeoutMs });
    throw new OmniQError("OMNIQ_UNSUPPORTED", "A handler asked for what its worker does not know");
  }
}
