// One loop per client that waits for results: all handles that wait share its round trips, and a task that is gone
// ends its wait.
import type { ResultReference, StoredResult, StoredTask } from "./contracts/index.ts";
import { OmniQError, isOmniQError } from "./errors.ts";
import { onAbort } from "./abort-listeners.ts";
import { checkWaitOptions } from "./option-checks.ts";
import type { WaitOptions } from "./options.ts";
import type { Runtime } from "./runtime.ts";
import { recordOutcomes } from "./unrecorded.ts";

interface Wait {
  readonly id: string;
  /** The lowest run that will do; 0 until the queue was asked. */
  run: number;
  /** When to ask the queue (again), by `performance.now()`. */
  checkAt: number;
  /** The pause until the next time. */
  pauseMs: number;
  /** The call that it is part of. */
  call: Call | undefined;
  resolve: (result: StoredResult) => void;
  reject: (reason: unknown) => void;
}

/** One call to the storage, for all waits that were there when it began. */
interface Call {
  readonly waits: readonly Wait[];
  readonly controller: AbortController;
  /** How many of its waits are still waited for; none: it is ended. */
  open: number;
}

/** More ids in one call cost a backend more for each wake-up than another call does. */
const maxReferences = 500;
/** More calls at a time are merged into fewer. */
const maxCalls = 4;
const firstPauseMs = 1_000;
const longestPauseMs = 10_000;

/** Made once: the reason that an abort makes for itself costs more than the wait. */
const noLongerWaited = new OmniQError("OMNIQ_CLOSED", "Nobody waits for these results any more");

/** Waits for results of tasks by id. */
export class ResultWaiter {
  readonly #runtime: Runtime;
  readonly #waits: Set<Wait> = new Set();
  /** Waits that are part of no call. */
  readonly #idle: Set<Wait> = new Set();
  readonly #calls: Set<Call> = new Set();
  #scheduled = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    runtime.closed.addEventListener("abort", () =>
      this.#rejectAll(new OmniQError("OMNIQ_CLOSED", "The client was closed while it waited for a result")),
    );
  }

  /**
   * The result of the task's current run. `fresh`: it was enqueued by this client just now, so that its first run is
   * waited for without
   * asking the queue first. Rejects as `TaskHandle.result` says.
   */
  wait(id: string, options: WaitOptions, fresh: boolean): Promise<StoredResult> {
    return new Promise((resolve, reject) => {
      const { timeoutMs, signal } = options;
      checkWaitOptions(options);
      if (this.#runtime.resultStorage === undefined) {
        throw new OmniQError(
          "OMNIQ_UNSUPPORTED",
          "This client has no result storage, so outcomes are not kept; give it one to wait for results",
          { taskId: id },
        );
      }
      if (this.#runtime.closed.aborted) throw new OmniQError("OMNIQ_CLOSED", "The client is closed");
      signal?.throwIfAborted();
      const wait: Wait = fresh
        ? {
            id,
            run: 1,
            checkAt: performance.now() + firstPauseMs,
            pauseMs: firstPauseMs,
            call: undefined,
            resolve,
            reject,
          }
        : { id, run: 0, checkAt: 0, pauseMs: firstPauseMs / 2, call: undefined, resolve, reject };
      if (timeoutMs !== undefined || signal !== undefined) this.#limit(wait, timeoutMs, signal);
      this.#waits.add(wait);
      this.#idle.add(wait);
      this.#schedule();
    });
  }

  /** Ends a wait after a time, or when the user's signal says so. */
  #limit(wait: Wait, timeoutMs: number | undefined, signal: AbortSignal | undefined): void {
    const { id, resolve, reject } = wait;
    const abort = (): void => this.#reject(wait, signal?.reason);
    const late = (): void => this.#reject(wait, timeoutError(id, timeoutMs as number));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    const forget = signal === undefined ? undefined : onAbort(signal, abort);
    const end = (): void => {
      clearTimeout(timer);
      forget?.();
    };
    wait.resolve = (result) => {
      end();
      resolve(result);
    };
    wait.reject = (reason) => {
      end();
      reject(reason);
    };
  }

  #resolve(wait: Wait, result: StoredResult): void {
    this.#remove(wait);
    wait.resolve(result);
  }

  #reject(wait: Wait, reason: unknown): void {
    this.#remove(wait);
    wait.reject(reason);
  }

  #remove(wait: Wait): void {
    if (!this.#waits.delete(wait)) return;
    this.#idle.delete(wait);
    const { call } = wait;
    if (call !== undefined && --call.open === 0) call.controller.abort(noLongerWaited);
  }

  #rejectAll(reason: unknown): void {
    for (const wait of [...this.#waits]) this.#reject(wait, reason);
  }

  /** A microtask later, so that handles that are waited for side by side share a call. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      const [oldest] = this.#calls;
      // Its waits come back as idle and join the others in one call.
      if (this.#calls.size >= maxCalls && oldest && oldest.waits.length < maxReferences)
        oldest.controller.abort(noLongerWaited);
      else this.#start();
    });
  }

  #start(): void {
    const size = Math.min(
      maxReferences,
      this.#runtime.taskQueue.capabilities.maxBatch,
      this.#runtime.resultStorage?.capabilities.maxBatch ?? 1,
    );
    while (this.#idle.size > 0) {
      const waits = [...this.#idle].slice(0, size);
      for (const wait of waits) this.#idle.delete(wait);
      const call: Call = { waits, controller: new AbortController(), open: waits.length };
      for (const wait of waits) wait.call = call;
      this.#calls.add(call);
      void this.#run(call).finally(() => {
        this.#calls.delete(call);
        for (const wait of waits) {
          wait.call = undefined;
          if (this.#waits.has(wait)) this.#idle.add(wait);
        }
        if (this.#idle.size > 0) this.#schedule();
      });
    }
  }

  /**
   * One round: ask the queue where it is time to, then wait until something comes or the next check is due. Never
   * rejects.
   */
  async #run(call: Call): Promise<void> {
    const { waits } = call;
    const { signal } = call.controller;
    const storage = this.#runtime.resultStorage;
    if (storage === undefined) return;
    try {
      const now = performance.now();
      const due = waits.filter((wait) => this.#waits.has(wait) && wait.checkAt <= now);
      if (due.length > 0) await this.#check(due, signal);
      const open = waits.filter((wait) => this.#waits.has(wait));
      if (open.length === 0) return;
      const lowest = new Map<string, number>();
      for (const { id, run } of open) lowest.set(id, Math.min(run, lowest.get(id) ?? run));
      const references: ResultReference[] = [...lowest].map(([taskId, run]) => ({ taskId, run }));
      let checkAt = Number.POSITIVE_INFINITY;
      for (const wait of open) checkAt = Math.min(checkAt, wait.checkAt);
      const next = checkAt - performance.now();
      const results = await storage.wait(references, Math.max(1, Math.ceil(next)), { signal });
      // It is over: nothing need be ended.
      call.open = Number.POSITIVE_INFINITY;
      this.#deliver(open, results);
    } catch (error) {
      if (signal.aborted) return;
      if (isOmniQError(error) && error.retryable) await pause(500, signal);
      else for (const wait of waits) this.#reject(wait, error);
    }
  }

  #deliver(waits: readonly Wait[], results: readonly (StoredResult | undefined)[]): void {
    if (results.length === 0) return;
    const byId = new Map(results.map((result) => [result?.taskId, result]));
    for (const wait of waits) {
      const result = byId.get(wait.id);
      if (result === undefined || wait.run === 0 || result.run < wait.run) continue;
      this.#resolve(wait, result);
    }
  }

  /** Asks the queue, then the results: a task that neither knows is not waited for. */
  async #check(due: readonly Wait[], signal: AbortSignal): Promise<void> {
    const { taskQueue, resultStorage } = this.#runtime;
    const ids = [...new Set(due.map(({ id }) => id))];
    let tasks = await taskQueue.get(ids, { signal });
    if (tasks.some(mayHaveExpired)) {
      // Nobody else may be there to notice: a client alone must not wait for ever for a task that can no longer start.
      await taskQueue.sweep(100, { signal });
      tasks = await taskQueue.get(ids, { signal });
    }
    if (
      tasks.some((task) => task && (task.state === "failed" || task.state === "cancelled" || task.state === "expired"))
    ) {
      await recordOutcomes(this.#runtime, 1_000);
    }
    const byId = new Map(tasks.map((task, index) => [ids[index] as string, task]));
    const gone: Wait[] = [];
    for (const wait of due) {
      wait.pauseMs = Math.min(wait.pauseMs * 2, longestPauseMs);
      wait.checkAt = performance.now() + wait.pauseMs;
      const task = byId.get(wait.id);
      if (task === undefined) {
        wait.run = Math.max(wait.run, 1);
        gone.push(wait);
      } else if (task.resultTtlMs === 0) {
        this.#reject(wait, noResult(wait.id, "it keeps no result (resultTtlMs 0)"));
      } else {
        wait.run = task.run;
      }
    }
    // A recorded dead letter stays in the queue for as long as someone wants it; its result may have gone before.
    const dead = due.filter(({ id }) => byId.get(id)?.state === "failed");
    if (gone.length === 0 && dead.length === 0) return;
    const looked = [...new Set([...gone, ...dead].map(({ id }) => id))];
    this.#deliver([...gone, ...dead], (await resultStorage?.get(looked, { signal })) ?? []);
    for (const wait of gone)
      if (this.#waits.has(wait)) this.#reject(wait, noResult(wait.id, "it was never enqueued, or its result is gone"));
    for (const wait of dead) this.#deliverDead(wait, byId.get(wait.id) as StoredTask);
  }

  /** A dead letter tells its outcome itself, once it is past the recording; its result is no longer there. */
  #deliverDead(wait: Wait, task: StoredTask): void {
    if (!this.#waits.has(wait) || wait.pauseMs < firstPauseMs * 4) return;
    const { id: taskId, run, attempt, name, queue, error } = task;
    const finishedAt = task.finishedAt ?? task.runAt;
    this.#deliver(
      [wait],
      [{ taskId, run, attempt, name, queue, status: "failed", error, finishedAt, expiresAt: null }],
    );
  }
}

/** A store may show `expired` as soon as the time is past, and make an outcome of it only when it is swept. */
function mayHaveExpired(task: StoredTask | undefined): boolean {
  if (task === undefined || task.state === "expired") return task !== undefined;
  const waiting = task.state === "ready" || task.state === "scheduled" || task.state === "blocked";
  return waiting && task.expiresAt !== undefined && task.startedAt === undefined;
}

function timeoutError(id: string, timeoutMs: number): OmniQError {
  return new OmniQError(
    "OMNIQ_TIMEOUT",
    `The task ${JSON.stringify(id)} was not over within ${timeoutMs} ms; it goes on`,
    { taskId: id },
  );
}

function noResult(id: string, reason: string): OmniQError {
  return new OmniQError("OMNIQ_TASK_NOT_FOUND", `There is no result of task ${JSON.stringify(id)}: ${reason}`, {
    taskId: id,
  });
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
