// Enqueueing without a replica: a process that only enqueues new tasks need not know the queue, so it need not replay it.
import { randomUUID } from "node:crypto";
import { isOmniQError, OmniQError } from "@omniq/core";
import type { EnqueueAnswer, EnqueueCall, NewTask } from "@omniq/core";
import { encodeCommit, type Command } from "@omniq/replica";
import type { NatsLog } from "./log.ts";

/** Ids as core makes them: UUIDs of version 7 (RFC 9562), which begin with their time. */
const generated = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** How long core has ids known that it made itself; ids given by users are known for longer. */
const generatedRememberMs = 600_000;
const youngMs = 60_000;
const rememberedIds = 20_000;
const resendMs = 50;

/**
 * Answers enqueues without knowing the state. Sound only where the answer can't be anything but `enqueued`: tasks without dependencies and
 * deduplication keys, whose id core has just made and that this process has not sent before. All replicas apply such a commit by id, so that
 * one which stands in the log twice (its acknowledgement was lost) still is one task; the id is known for ten minutes after the end, and
 * nothing is sent again for so long.
 */
export class DirectEnqueue {
  readonly #log: NatsLog;
  readonly #giveUpMs: number;
  readonly #sent = new Set<string>();

  constructor(log: NatsLog, giveUpMs: number) {
    this.#log = log;
    this.#giveUpMs = Math.min(giveUpMs, generatedRememberMs / 4);
  }

  /** True when these commands can be answered here. */
  takes(commands: readonly Command[]): boolean {
    const ids = new Set<string>();
    return commands.every(
      (command) =>
        command.verb === "enqueue" &&
        command.calls.every(({ tasks }) =>
          tasks.every((task) => {
            if (!this.#isNew(task) || ids.has(task.id)) return false;
            ids.add(task.id);
            return true;
          }),
        ),
    );
  }

  /** Stores the commands, which {@link takes} has let pass, and answers them. */
  async send(commands: readonly Command[]): Promise<readonly (readonly EnqueueAnswer[])[]> {
    const operations = commands.filter((command) => command.verb === "enqueue");
    for (const { calls } of operations) for (const { tasks } of calls) for (const { id } of tasks) this.#remember(id);
    const body = encodeCommit({
      id: randomUUID(),
      sequence: 0,
      previous: "",
      at: Date.now(),
      requests: [{ n: 1, operations }],
    });
    const deadline = performance.now() + this.#giveUpMs;
    for (let isMaybeStored = false, failure: unknown; ;) {
      try {
        const { state } = await this.#log.append(0, body);
        if (state === "stored") return operations.map(({ calls }) => calls.map(accepted));
        isMaybeStored = true;
      } catch (error) {
        failure = error;
        if (!isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE")) {
          if (!isMaybeStored) throw error;
          throw outcomeUnknown(error);
        }
      }
      if (performance.now() > deadline) throw isMaybeStored ? outcomeUnknown(failure) : failure;
      await new Promise((resolve) => setTimeout(resolve, resendMs));
    }
  }

  #isNew({ id, rememberMs, dependencies, deduplicate }: NewTask): boolean {
    return (
      rememberMs === generatedRememberMs &&
      (dependencies === undefined || dependencies.length === 0) &&
      deduplicate === undefined &&
      generated.test(id) &&
      Math.abs(Date.now() - Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)) < youngMs &&
      !this.#sent.has(id)
    );
  }
  #remember(id: string): void {
    this.#sent.add(id);
    if (this.#sent.size <= rememberedIds) return;
    const [oldest] = this.#sent;
    if (oldest !== undefined) this.#sent.delete(oldest);
  }
}

function accepted({ tasks }: EnqueueCall): EnqueueAnswer {
  return { state: "accepted", receipts: tasks.map(({ id }) => ({ id, state: "enqueued" })) };
}

function outcomeUnknown(cause: unknown): OmniQError {
  return new OmniQError(
    "OMNIQ_OUTCOME_UNKNOWN",
    "The NATS server did not answer in time; the tasks may or may not have been enqueued, the same ids may be sent again",
    { cause },
  );
}
