// Looking at tasks and queues, and acting on them: lists, counts, cancel, retry, remove, pause, settings.
import type {
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
import { checkInteger, checkKey } from "./limits.ts";
import { refuseUnknown } from "./option-checks.ts";
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
  /** Starts dead letters again, as a new run. */
  retry(ids: readonly string[]): Promise<readonly RetryState[]>;
  /** Removes waiting tasks and dead letters, without a result. */
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

/** A list from its pages. */
export function paginated<T>(page: (request: PageRequest) => Promise<Page<T>>): Paginated<T> {
  return {
    page: async (request = {}) => {
      if (request.limit !== undefined) checkInteger("limit", request.limit, 1, 1_000);
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

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  list(filter: TaskFilter = {}): Paginated<TaskStatus> {
    refuseUnknown(filter, ["queue", "name", "states"], "The filter");
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
    const { taskQueue } = this.#runtime;
    const states: CancelState[] = [];
    for (const batch of batches(ids, taskQueue.capabilities.maxBatch)) states.push(...(await taskQueue.cancel(batch)));
    if (states.includes("cancelled")) await this.#record();
    const unknown = ids.filter((_, index) => states[index] === "unknown");
    const finished = new Set<string>();
    for (const batch of batches([...new Set(unknown)], this.#lookupSize())) {
      const tasks = await taskQueue.get(batch);
      const results = (await this.#runtime.resultStorage?.get(batch)) ?? [];
      batch.forEach((id, index) => {
        if (tasks[index] !== undefined || results[index] !== undefined) finished.add(id);
      });
    }
    return states.map((state, index) =>
      state === "unknown" && finished.has(ids[index] as string) ? "finished" : state,
    );
  }

  async retry(ids: readonly string[]): Promise<readonly RetryState[]> {
    checkIds(ids);
    const { taskQueue } = this.#runtime;
    this.retries++;
    const act = async (some: readonly string[]): Promise<RetryState[]> => {
      const states: RetryState[] = [];
      for (const batch of batches(some, taskQueue.capabilities.maxBatch))
        states.push(...(await taskQueue.retry(batch)));
      return states;
    };
    return await this.#afterRecording(ids, await act(ids), act);
  }

  async remove(ids: readonly string[]): Promise<readonly RemoveState[]> {
    checkIds(ids);
    const { taskQueue } = this.#runtime;
    const act = async (some: readonly string[]): Promise<RemoveState[]> => {
      const states: RemoveState[] = [];
      for (const batch of batches(some, taskQueue.capabilities.maxBatch))
        states.push(...(await taskQueue.remove(batch)));
      return states;
    };
    return await this.#afterRecording(ids, await act(ids), act);
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
      purge: async (states = ["blocked", "scheduled", "ready"]) => await taskQueue.purge(name, states),
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
