// Lets calls that are made while a round trip is under way ride together in the next one.
import { onAbort } from "./abort-listeners.ts";
import type { EnqueueAnswer, EnqueueCall, NewTask, TaskQueue } from "./contracts/index.ts";
import { OmniQError, isOmniQError } from "./errors.ts";

/** One call, and who is told. */
export interface Submission {
  readonly call: EnqueueCall;
  readonly resolve: (answer: EnqueueAnswer) => void;
  readonly reject: (reason: unknown) => void;
}

/** Characters of tasks after which a batch is cut, whatever `maxBatch` allows. */
const maxCharacters = 4_194_304;
/** Pauses before calls whose outcome is unknown are sent again, under the same ids. */
const resendAfterMs = [50, 200, 500, 1_000, 2_000, 4_000];
/** A batch of at least so many calls is worth a second round trip while one is under way. */
const worthCalls = 24;
/** Round trips that take longer are the store's own work, which larger batches make cheaper, and smaller ones dearer. */
const shortMs = 1.5;
const turn = Promise.resolve();

/**
 * Sends calls in natural batches, without a timer: what comes while a round trip is under way goes with the next.
 * Each promise tells of its own call only: when a batch is refused for its data, it is halved until the call that is to blame stands alone.
 *
 * Where another process answers within about the time that this one needs to make the next batch, two large batches are under way in
 * turn, so that neither waits for the other.
 */
export class EnqueueCoalescer {
  readonly #queue: TaskQueue;
  #waiting: Submission[] = [];
  #scheduled = false;
  #underWay = 0;
  #roundTripMs = Number.POSITIVE_INFINITY;
  #idle: (() => void)[] = [];
  readonly #begin = (): void => {
    this.#scheduled = false;
    this.#run();
  };
  #closed = false;
  readonly #pauses: Set<() => void> = new Set();

  constructor(queue: TaskQueue) {
    this.#queue = queue;
  }

  /** The answer to this call. An abort takes it out if it was not sent; if it was, it may still take effect. */
  send(call: EnqueueCall, signal?: AbortSignal): Promise<EnqueueAnswer> {
    return new Promise((resolve, reject) => {
      if (signal === undefined) {
        this.submit({ call, resolve, reject });
        return;
      }
      if (signal.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const submission: Submission = {
        call,
        resolve: (answer) => {
          settled();
          resolve(answer);
        },
        reject: (reason) => {
          settled();
          reject(reason as Error);
        },
      };
      const settled = onAbort(signal, () => {
        this.#waiting = this.#waiting.filter((one) => one !== submission);
        reject(signal.reason as Error);
      });
      this.submit(submission);
    });
  }

  /** Takes one call on. Its `resolve` or `reject` is called once. */
  submit(submission: Submission): void {
    if (this.#closed) {
      submission.reject(closedError());
      return;
    }
    this.#waiting.push(submission);
    // A microtask later, so that calls made side by side in one turn go together from the first.
    if (!this.#scheduled) this.#schedule();
  }

  /** Refuses new calls and resolves when what was taken on is answered. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const end of [...this.#pauses]) end();
    if (this.#waiting.length > 0 || this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Rejects what was not sent yet. */
  abandon(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(closedError());
  }

  #schedule(): void {
    this.#scheduled = true;
    // A promise's turn costs a fraction of `queueMicrotask`'s.
    void turn.then(this.#begin);
  }

  #run(): void {
    const turns = this.#queue.capabilities.reach === "network" && this.#roundTripMs < shortMs;
    for (;;) {
      const { length } = this.#waiting;
      if (length === 0 || this.#underWay > 1 || (this.#underWay === 1 && !(turns && length >= worthCalls))) break;
      this.#fly(this.#take(turns && this.#underWay === 0 && length >= 2 * worthCalls ? length >> 1 : length));
    }
    if (this.#waiting.length === 0 && this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** At most so many calls. */
  #take(most: number): readonly Submission[] {
    const { maxBatch } = this.#queue.capabilities;
    let tasks = 0;
    let characters = 0;
    let count = 0;
    for (const { call } of this.#waiting) {
      tasks += call.tasks.length;
      for (const task of call.tasks) characters += charactersOf(task);
      if (count > 0 && (tasks > maxBatch || characters > maxCharacters || count >= most)) break;
      count++;
    }
    if (count < this.#waiting.length) return this.#waiting.splice(0, count);
    const all = this.#waiting;
    this.#waiting = [];
    return all;
  }

  #fly(batch: readonly Submission[]): void {
    this.#underWay += 1;
    const start = performance.now();
    void this.#send(batch).then(() => {
      const took = performance.now() - start;
      this.#roundTripMs = this.#roundTripMs === Number.POSITIVE_INFINITY ? took : this.#roundTripMs * 0.8 + took * 0.2;
      this.#underWay -= 1;
      // Who was answered enqueues again before this goes on, and rides along; who does so later begins anew.
      if (!this.#scheduled && (this.#waiting.length > 0 || this.#idle.length > 0)) this.#schedule();
    });
  }

  /** Sends, and where no answer comes sends the same tasks again, under the same ids: those that were stored are there once. */
  async #enqueue(batch: readonly Submission[]): Promise<readonly EnqueueAnswer[]> {
    const calls = batch.map(({ call }) => call);
    let unknown: unknown;
    for (const pauseMs of resendAfterMs) {
      try {
        return await this.#queue.enqueue(calls);
      } catch (error) {
        if (isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN")) unknown = error;
        // After a call without an answer, one that was not sent does not say what became of the first.
        else if (unknown === undefined || !isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE")) throw error;
        if (this.#closed) break;
      }
      await this.#pause(pauseMs);
    }
    throw unknown;
  }

  /** Until the time is over, or the client closes. */
  #pause(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#pauses.add(end);
    });
  }

  async #send(batch: readonly Submission[]): Promise<void> {
    try {
      const answers = await this.#enqueue(batch);
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
        const unknown = isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN");
        for (const { call, reject } of batch) reject(unknown ? unknownOutcome(call, error) : error);
        return;
      }
      const half = batch.length >> 1;
      await this.#send(batch.slice(0, half));
      await this.#send(batch.slice(half));
    }
  }
}

/** What a task adds to a batch. */
export function charactersOf({ payload, envelope, dependencies }: NewTask): number {
  let characters = payload.length + envelope.length;
  if (dependencies !== undefined)
    for (const { outcome } of dependencies)
      if (outcome !== undefined) characters += (outcome.value?.length ?? 0) + (outcome.error?.length ?? 0);
  return characters;
}

function unknownOutcome({ tasks }: EnqueueCall, cause: OmniQError): OmniQError {
  const ids = tasks
    .slice(0, 5)
    .map(({ id }) => JSON.stringify(id))
    .join(", ");
  const more = tasks.length > 5 ? ` and ${tasks.length - 5} more` : "";
  return new OmniQError(
    "OMNIQ_OUTCOME_UNKNOWN",
    `It is not known whether ${ids}${more} was enqueued: the backend did not answer. Look with tasks.get, or enqueue again with the option id, ` +
      "which is harmless: the same id is one task",
    { cause, taskId: tasks[0]?.id },
  );
}

function closedError(): OmniQError {
  return new OmniQError("OMNIQ_CLOSED", "The client is closed; nothing was enqueued");
}
