// Looking at tasks and queues, and acting on them: lists, counts, cancel, retry, remove, pause, settings.
import type {
  DependencyOutcome,
  Page,
  PageRequest,
  QueueCounts,
  QueueSettings,
  RemoveState,
  RetryState,
  StoredTask,
  StoredTaskState,
  TaskFilter,
} from "./contracts/index.ts";
import { maxDurationMs } from "./duration.ts";
import { OmniQError } from "./errors.ts";
import type { CancelState, TaskStatus } from "./handle.ts";
import { checkInteger, checkKey, describeType } from "./limits.ts";
import { checkWords, refuseUnknown } from "./option-checks.ts";
import type { Runtime } from "./runtime.ts";
import { statusOfResult, statusOfTask } from "./task-outcome.ts";
import { recordOutcomes } from "./unrecorded.ts";

/** A list: page by page, or item by item with `for await`. */
export interface Paginated<T> extends AsyncIterable<T> {
  page(request?: PageRequest): Promise<Page<T>>;
}

/** Live tasks and dead letters of all queues. */
export interface TaskAdministration {
  /** In enqueue order. */
  list(filter?: TaskFilter): Paginated<TaskStatus>;
  /** As its queue holds it; `undefined` once it has left. */
  get(id: string): Promise<StoredTask | undefined>;
  cancel(ids: readonly string[]): Promise<readonly CancelState[]>;
  /**
   * Starts dead letters again, as a new run, with the outcomes of their dependencies that stand now: it waits again for those that are retried
   * too, in this call or before.
   */
  retry(ids: readonly string[]): Promise<readonly RetryState[]>;
  /**
   * Removes waiting tasks and dead letters, frees ids that are only remembered (`freed`), and deletes the stored results of all that are not
   * `busy`. Calling it again is harmless. Afterwards the ids can be enqueued anew.
   */
  remove(ids: readonly string[]): Promise<readonly RemoveState[]>;
}

/** One queue. */
export interface Queue {
  readonly name: string;
  counts(): Promise<QueueCounts>;
  /** Hands out nothing until resumed; tasks are accepted. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Limits for all processes together. `undefined` leaves a setting, `null` takes it away. */
  configure(settings: QueueSettings): Promise<void>;
  /** Removes all tasks in these states; default `blocked`, `scheduled`, `ready`. Says how many. */
  purge(states?: readonly StoredTaskState[]): Promise<number>;
}

const storedStates: readonly StoredTaskState[] = [
  ...(["blocked", "scheduled", "ready", "active", "failed", "cancelled", "expired"] as const),
];

/** A list from its pages. */
export function paginated<T>(page: (request: PageRequest) => Promise<Page<T>>): Paginated<T> {
  return {
    page: async (request = {}) => {
      refuseUnknown(request, ["limit", "cursor"], "The request of a page");
      if (request.limit !== undefined) checkInteger("limit", request.limit, 1, 1_000);
      if (request.cursor !== undefined && typeof request.cursor !== "string")
        throw new OmniQError(
          "OMNIQ_INVALID_OPTION",
          `cursor must be the \`next\` of a page, not ${describeType(request.cursor)}`,
        );
      return await page(request);
    },
    async *[Symbol.asyncIterator]() {
      let cursor: string | undefined;
      do {
        const { items, next } = await page({ cursor });
        yield* items;
        cursor = next;
      } while (cursor !== undefined);
    },
  };
}

/** The administration of one client's tasks. */
export class Administration implements TaskAdministration {
  readonly #runtime: Runtime;
  /** How often dead letters were retried through this client; handles look at it. */
  retries: number = 0;
  readonly #cancelling: Set<string> = new Set();
  #cancels: Promise<ReadonlyMap<string, CancelState>> | undefined;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  list(filter: TaskFilter = {}): Paginated<TaskStatus> {
    refuseUnknown(filter, ["queue", "name", "states"], "The filter");
    if (filter.queue !== undefined) checkKey("queue of the filter", filter.queue);
    if (filter.name !== undefined) checkKey("name of the filter", filter.name);
    if (filter.states !== undefined) checkWords("states of the filter", filter.states, storedStates);
    const { taskQueue, serializer } = this.#runtime;
    return paginated(async (request) => {
      const { items, next } = await taskQueue.list(filter, request);
      const statuses = items.map((task) => statusOfTask(task, serializer));
      return next === undefined ? { items: statuses } : { items: statuses, next };
    });
  }

  async get(id: string): Promise<StoredTask | undefined> {
    checkKey("id", id);
    return (await this.#runtime.taskQueue.get([id]))[0];
  }

  /** Of a task wherever it is: its queue, else its result. */
  async status(id: string): Promise<TaskStatus | undefined> {
    checkKey("id", id);
    const { taskQueue, resultStorage, serializer } = this.#runtime;
    const [task] = await taskQueue.get([id]);
    if (task) return statusOfTask(task, serializer);
    const [result] = (await resultStorage?.get([id])) ?? [];
    return result && statusOfResult(result, serializer);
  }

  async cancel(ids: readonly string[]): Promise<readonly CancelState[]> {
    checkIds(ids);
    const { taskQueue, resultStorage } = this.#runtime;
    const states = await this.#inBatches(ids, async (batch) => await taskQueue.cancel(batch));
    if (states.includes("cancelled")) await this.#record();
    const unknown = ids.filter((_, index) => states[index] === "unknown");
    const finished = new Set<string>();
    for (const batch of batches([...new Set(unknown)], this.#lookupSize())) {
      const tasks = await taskQueue.get(batch);
      const results = (await resultStorage?.get(batch)) ?? [];
      batch.forEach((id, index) => {
        if (tasks[index] !== undefined || results[index] !== undefined) finished.add(id);
      });
    }
    return states.map((state, index) =>
      state === "unknown" && finished.has(ids[index] as string) ? "finished" : state,
    );
  }

  /** Cancels that are asked for side by side go together. */
  async cancelOne(id: string): Promise<CancelState> {
    this.#cancels ??= Promise.resolve().then(async () => {
      const ids = [...this.#cancelling];
      this.#cancelling.clear();
      this.#cancels = undefined;
      const states = await this.cancel(ids);
      return new Map(ids.map((one, index) => [one, states[index] as CancelState]));
    });
    this.#cancelling.add(id);
    return (await this.#cancels).get(id) ?? "unknown";
  }

  async retry(ids: readonly string[]): Promise<readonly RetryState[]> {
    checkIds(ids);
    const { taskQueue } = this.#runtime;
    this.retries++;
    const act = async (some: readonly string[]): Promise<RetryState[]> =>
      await this.#inBatches(
        some,
        async (batch) => await taskQueue.retry(batch, { outcomes: await this.#outcomesFor(batch) }),
      );
    return await this.#afterRecording(ids, await act(ids), act);
  }

  async remove(ids: readonly string[]): Promise<readonly RemoveState[]> {
    checkIds(ids);
    const { taskQueue, resultStorage } = this.#runtime;
    const act = async (some: readonly string[]): Promise<RemoveState[]> =>
      await this.#inBatches(some, async (batch) => await taskQueue.remove(batch));
    const states = await this.#afterRecording(ids, await act(ids), act);
    // Its result goes with it: a new task of the id is run 1 again. Also where the queue knows nothing of it: a call that ended between the two
    // is made good by the next.
    const gone = ids.filter((_, index) => states[index] !== "busy");
    if (resultStorage !== undefined)
      for (const batch of batches(gone, resultStorage.capabilities.maxBatch)) await resultStorage.delete(batch);
    return states;
  }

  /** Stored results of what these tasks depend on: outcomes that stand now, where the queue may have older ones. */
  async #outcomesFor(ids: readonly string[]): Promise<readonly DependencyOutcome[] | undefined> {
    const { taskQueue, resultStorage } = this.#runtime;
    if (resultStorage === undefined || !taskQueue.capabilities.dependencies) return undefined;
    const depended = new Set<string>();
    for (const task of await taskQueue.get(ids)) for (const id of task?.dependencies ?? []) depended.add(id);
    const outcomes: DependencyOutcome[] = [];
    for (const batch of batches([...depended], resultStorage.capabilities.maxBatch)) {
      for (const result of await resultStorage.get(batch)) {
        if (result === undefined) continue;
        const { taskId, run, attempt, status, value, error, finishedAt } = result;
        outcomes.push({ taskId, run, attempt, status, value, error, finishedAt });
      }
    }
    return outcomes.length === 0 ? undefined : outcomes;
  }

  async #inBatches<State>(
    ids: readonly string[],
    act: (batch: readonly string[]) => Promise<readonly State[]>,
  ): Promise<State[]> {
    const states: State[] = [];
    for (const batch of batches(ids, this.#runtime.taskQueue.capabilities.maxBatch))
      for (const state of await act(batch)) states.push(state);
    return states;
  }

  /** A queue by name; it need not have been used. */
  queue(name: string): Queue {
    checkKey("The name of a queue", name);
    const { taskQueue } = this.#runtime;
    return {
      name,
      counts: async () => {
        const counts = await taskQueue.counts([name]);
        return (
          counts[name] ?? { blocked: 0, scheduled: 0, ready: 0, active: 0, failed: 0, unrecorded: 0, paused: false }
        );
      },
      pause: async () => await taskQueue.pause(name),
      resume: async () => await taskQueue.resume(name),
      configure: async (settings) => await configureQueue(this.#runtime, name, settings),
      purge: async (states = ["blocked", "scheduled", "ready"]) => {
        checkWords("states of purge", states, ["blocked", "scheduled", "ready", "failed"]);
        return await taskQueue.purge(name, states);
      },
    };
  }

  /** Those that were busy because their outcome was not recorded get another try once it is. */
  async #afterRecording<State extends string>(
    ids: readonly string[],
    states: readonly (State | "busy")[],
    act: (ids: readonly string[]) => Promise<(State | "busy")[]>,
  ): Promise<(State | "busy")[]> {
    const busy = ids.filter((_, index) => states[index] === "busy");
    if (busy.length === 0 || (await this.#record()) === 0) return [...states];
    const again = await act(busy);
    let at = 0;
    return states.map((state) => (state === "busy" ? (again[at++] ?? state) : state));
  }

  #lookupSize(): number {
    const { taskQueue, resultStorage } = this.#runtime;
    return Math.min(taskQueue.capabilities.maxBatch, resultStorage?.capabilities.maxBatch ?? Number.MAX_SAFE_INTEGER);
  }

  /** Workers do it too; doing it at once lets waiters know without one. */
  async #record(): Promise<number> {
    try {
      return await recordOutcomes(this.#runtime, 1_000);
    } catch (error) {
      this.#runtime.logger.warn("Outcomes could not be recorded; the next worker or scheduler does it", { error });
      return 0;
    }
  }
}

/** Checks and stores the settings of a queue. */
export async function configureQueue(
  { taskQueue }: Pick<Runtime, "taskQueue">,
  name: string,
  settings: QueueSettings,
): Promise<void> {
  checkQueueSettings(name, settings);
  const { queueLimits, rateLimits } = taskQueue.capabilities;
  const lacks =
    settings.maxActive != null && !queueLimits
      ? "queue limits (maxActive)"
      : settings.rateLimit != null && !rateLimits
        ? "rate limits"
        : undefined;
  if (lacks)
    throw new OmniQError(
      "OMNIQ_UNSUPPORTED",
      `This backend has no ${lacks}, which the settings of queue ${JSON.stringify(name)} ask for`,
    );
  await taskQueue.configureQueue(name, settings);
}

/** Checks the settings of a queue. Throws `OMNIQ_INVALID_OPTION`. */
export function checkQueueSettings(name: string, settings: unknown): void {
  checkKey("The name of a queue", name);
  const where = `of queue ${JSON.stringify(name)}`;
  refuseUnknown(settings, ["maxActive", "rateLimit", "deadLetterTtlMs"], `The settings ${where}`);
  const { maxActive, rateLimit, deadLetterTtlMs } = settings;
  if (maxActive != null) checkInteger(`maxActive ${where}`, maxActive, 1, 1_000_000_000);
  if (deadLetterTtlMs != null) checkInteger(`deadLetterTtlMs ${where}`, deadLetterTtlMs, 1, maxDurationMs);
  if (rateLimit == null) return;
  refuseUnknown(rateLimit, ["limit", "windowMs"], `rateLimit ${where}`);
  checkInteger(`rateLimit.limit ${where}`, rateLimit["limit"], 1, 1_000_000_000);
  checkInteger(`rateLimit.windowMs ${where}`, rateLimit["windowMs"], 1, maxDurationMs);
}

function checkIds(ids: readonly string[]): void {
  if (!Array.isArray(ids)) throw new OmniQError("OMNIQ_INVALID_OPTION", "ids must be an array of ids");
  for (const id of ids) checkKey("id", id);
}

function* batches<T>(items: readonly T[], size: number): Iterable<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
