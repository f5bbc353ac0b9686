// Lets calls that are made while a round trip is under way ride together in the next one.
import type { EnqueueAnswer, EnqueueCall, TaskQueue } from "./contracts/index.ts";
import { OmniQError, isOmniQError } from "./errors.ts";

interface Waiting {
  readonly call: EnqueueCall;
  readonly resolve: (answer: EnqueueAnswer) => void;
  readonly reject: (reason: unknown) => void;
}

/** Bytes of payloads after which a batch is cut, whatever `maxBatch` allows. */
const maxBytes = 4_194_304;

/**
 * Sends calls in natural batches, without a timer: what comes while a round trip is under way goes with the next.
 * Each promise tells of its
 * own call only: when a batch is refused for its data, it is halved until the call that is to blame stands alone.
 */
export class EnqueueCoalescer {
  readonly #queue: TaskQueue;
  #waiting: Waiting[] = [];
  #sending: Promise<void> | undefined;
  #closed = false;

  constructor(queue: TaskQueue) {
    this.#queue = queue;
  }

  /** The answer to this call. An abort takes it out if it was not sent; if it was, it may still take effect. */
  send(call: EnqueueCall, signal?: AbortSignal): Promise<EnqueueAnswer> {
    const { promise, resolve, reject } = deferred<EnqueueAnswer>();
    if (this.#closed) {
      reject(closedError());
      return promise;
    }
    if (signal?.aborted) {
      reject(signal.reason);
      return promise;
    }
    const waiting = { call, resolve, reject };
    this.#waiting.push(waiting);
    // A microtask later, so that calls made side by side in one turn go together from the first.
    this.#sending ??= Promise.resolve().then(async () => await this.#run());
    if (signal === undefined) return promise;
    const abort = (): void => {
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
      reject(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Refuses new calls and resolves when what was taken on is answered. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#sending;
  }

  /** Rejects what was not sent yet. */
  abandon(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(closedError());
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) await this.#send(this.#take());
    this.#sending = undefined;
  }

  #take(): Waiting[] {
    const { maxBatch } = this.#queue.capabilities;
    let tasks = 0;
    let bytes = 0;
    let count = 0;
    for (const { call } of this.#waiting) {
      tasks += call.tasks.length;
      for (const task of call.tasks) bytes += task.payload.length;
      if (count > 0 && (tasks > maxBatch || bytes > maxBytes)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      const answers = await this.#queue.enqueue(batch.map(({ call }) => call));
      if (answers.length !== batch.length) {
        throw new OmniQError(
          "OMNIQ_BACKEND_FAILED",
          `The task queue gave ${answers.length} answers to ${batch.length} calls`,
          { retryable: true },
        );
      }
      batch.forEach(({ resolve }, index) => resolve(answers[index] as EnqueueAnswer));
    } catch (error) {
      // Only data is a reason to look for the culprit; away, full or closed it is for all. Ids make sending again
      // harmless.
      const forAll = isOmniQError(error) && (error.retryable || error.code === "OMNIQ_CLOSED");
      if (batch.length === 1 || forAll) {
        for (const { reject } of batch) reject(error);
        return;
      }
      const half = batch.length >> 1;
      await this.#send(batch.slice(0, half));
      await this.#send(batch.slice(half));
    }
  }
}

function closedError(): OmniQError {
  return new OmniQError("OMNIQ_CLOSED", "The client is closed; nothing was enqueued");
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (reason: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
