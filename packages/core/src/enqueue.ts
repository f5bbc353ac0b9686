// Enqueueing: prepared calls go out, dependencies that have left the queue are looked up, events are written, receipts
// come back.
import type {
  Dependency,
  EnqueueAnswer,
  EnqueueCall,
  EnqueueReceipt,
  NewEvent,
  NewTask,
  StoredResult,
} from "./contracts/index.ts";
import { charactersOf, EnqueueCoalescer } from "./enqueue-coalescer.ts";
import { PlainTasks } from "./enqueue-plain.ts";
import { prepareCalls, type PreparedCalls, type PrepareContext } from "./enqueue-prepare.ts";
import { OmniQError } from "./errors.ts";
import { checkSignal } from "./option-checks.ts";
import type { EnqueueCallOptions } from "./options.ts";
import type { Runtime } from "./runtime.ts";
import { gather, isPromise } from "./standard-schema.ts";
import type { TaskCall } from "./task-definition.ts";

/** Characters of the tasks of one atomic call: stores take it as one text, which may be twice as long escaped, and Node's end at 512 Mi. */
export const maxCallCharacters = 134_217_728;
/** How long closing waits for enqueues that are not answered. */
const closeMs = 1_000;

/** What became of one call of the user's. */
export interface Enqueued {
  readonly task: NewTask;
  readonly id: string;
  /** What the queue said of it; `enqueued` for this client's own resend. */
  readonly receipt: EnqueueReceipt["state"];
}

type Lent = Pick<Runtime, "taskQueue" | "resultStorage" | "eventStorage" | "eventsTogether" | "logger" | "event">;

/** The client's way in to its task queue. */
export class Enqueuer {
  readonly #runtime: Lent;
  readonly #context: PrepareContext;
  readonly #coalescer: EnqueueCoalescer;
  /** Resolves when the queues' settings are in place. */
  readonly #ready: () => Promise<void>;
  #isReady = false;
  readonly #plain: PlainTasks;
  /** Events go to a storage of another backend, after each call. */
  readonly #apart: boolean;

  constructor(runtime: Lent, context: PrepareContext, ready: () => Promise<void>) {
    this.#runtime = runtime;
    this.#context = context;
    this.#coalescer = new EnqueueCoalescer(runtime.taskQueue);
    this.#ready = ready;
    this.#plain = new PlainTasks(context);
    this.#apart = runtime.eventStorage !== undefined && !runtime.eventsTogether;
  }

  /**
   * One call without options, with as little around it as there can be: `done` makes of the new task's id what the caller gets.
   * `undefined` where the call must go the long way, by {@link enqueue}.
   */
  enqueuePlain<T>(task: unknown, input: unknown, done: (id: string) => T): Promise<T> | undefined {
    if (!this.#isReady || this.#apart) return undefined;
    try {
      const made = this.#plain.make(task, input);
      if (made === undefined) return undefined;
      return isPromise(made) ? made.then((one) => this.#sendPlain(one, done)) : this.#sendPlain(made, done);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #sendPlain<T>(task: NewTask, done: (id: string) => T): Promise<T> {
    const call = this.#call([task], true);
    return new Promise((resolve, reject) => {
      this.#coalescer.submit({
        call,
        // A `duplicate` is this client's own resend.
        resolve: (answer) => {
          if (answer.state === "accepted") resolve(done((answer.receipts[0] as EnqueueReceipt).id));
          else reject(notFound(answer.taskIds, "A task without dependencies was refused for them"));
        },
        reject,
      });
    });
  }

  /** Enqueues calls all or none. */
  async enqueue(calls: readonly TaskCall<unknown>[], options: EnqueueCallOptions = {}): Promise<readonly Enqueued[]> {
    checkSignal(options.signal);
    options.signal?.throwIfAborted();
    if (calls.length === 0) return [];
    if (options.transaction !== undefined) this.#needTransactions(false);
    // Nothing is awaited without need, so that calls made side by side are sent in their order, whatever their options.
    const made = this.#plainCalls(calls) ?? prepareCalls(calls, this.#context);
    const prepared = isPromise(made) ? await made : made;
    this.#checkSize(prepared.tasks);
    if (!this.#isReady) await this.#untilReady();
    let tasks = prepared.tasks;
    const generatedIds = tasks.every(({ id }) => prepared.generated.has(id));
    // Each round finds at least one dependency that had left the queue, so there are at most as many rounds as
    // dependencies.
    for (let rounds = tasks.reduce((sum, task) => sum + (task.dependencies?.length ?? 0), 1); ; rounds--) {
      const answer = await this.#send(tasks, generatedIds, options);
      if (answer.state === "accepted") {
        await this.#appendApart(tasks, answer.receipts, options);
        return this.#outcomes(prepared, tasks, answer.receipts);
      }
      if (rounds <= 0)
        throw new OmniQError(
          "OMNIQ_BACKEND_FAILED",
          "The task queue keeps asking for dependencies that it was told of",
        );
      tasks = await this.#resolve(tasks, answer.taskIds, options.signal);
    }
  }

  /** Calls that all go the quick way, if they do. */
  #plainCalls(calls: readonly TaskCall<unknown>[]): PreparedCalls | Promise<PreparedCalls> | undefined {
    for (const call of calls as readonly (Partial<TaskCall<unknown>> | undefined)[])
      if (call === undefined || hasKeys(call.options) || !this.#plain.takes(call.task)) return undefined;
    const made = gather(calls, ({ task, input }) => this.#plain.make(task, input) as NewTask | Promise<NewTask>);
    const finish = (tasks: readonly NewTask[]): PreparedCalls => ({
      tasks,
      roots: tasks.map((_, index) => index),
      generated: allGenerated,
    });
    return isPromise(made) ? made.then(finish) : finish(made);
  }

  async #untilReady(): Promise<void> {
    await this.#ready();
    this.#isReady = true;
  }

  /** Enqueues one call inside a synchronous transaction. */
  enqueueSync(call: TaskCall<unknown>, transaction: unknown): Enqueued {
    this.#needTransactions(true);
    const { taskQueue } = this.#runtime;
    if (taskQueue.enqueueSync === undefined)
      throw new OmniQError("OMNIQ_UNSUPPORTED", "This backend has no synchronous enqueue; use enqueue");
    const prepared = prepareCalls([call], this.#context);
    if (isPromise(prepared)) {
      void prepared.catch(() => undefined);
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        `The input schema of task ${JSON.stringify(call.task.name)} is asynchronous; enqueueSync needs a synchronous one`,
      );
    }
    this.#checkSize(prepared.tasks);
    const [answer] = taskQueue.enqueueSync([this.#call(prepared.tasks, false)], { transaction });
    if (answer?.state !== "accepted")
      throw notFound(answer?.taskIds ?? [], "enqueueSync cannot look for results of tasks that are over");
    return this.#outcomes(prepared, prepared.tasks, answer.receipts)[0] as Enqueued;
  }

  /** Enqueues a task that is ready to be stored, riding with others. */
  async enqueuePrepared(task: NewTask): Promise<void> {
    if (!this.#isReady) await this.#untilReady();
    const answer = await this.#send([task], false, {});
    if (answer.state !== "accepted") throw notFound(answer.taskIds, "Prepared tasks are stored as they are");
    await this.#appendApart([task], answer.receipts, {});
  }

  /** The one task of a call, as the task queue takes it. Calls with nested calls are refused. */
  async prepare(call: TaskCall<unknown>): Promise<NewTask> {
    const { tasks } = await prepareCalls([call], this.#context);
    if (tasks.length !== 1)
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `The task ${JSON.stringify(call.task.name)} must not bring dependencies along here`,
      );
    return tasks[0] as NewTask;
  }

  /** Resolves when what was taken on is answered. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    // A backend that is away may keep a call for long; closing does not wait for it for ever.
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, closeMs);
    });
    await Promise.race([this.#coalescer.close(), limit]);
    clearTimeout(timer);
    this.#coalescer.abandon();
  }

  #needTransactions(synchronous: boolean): void {
    const { transactions } = this.#runtime.taskQueue.capabilities;
    if (transactions === false)
      throw new OmniQError("OMNIQ_UNSUPPORTED", "This backend has no transactions that tasks can be enqueued in");
    if (synchronous && transactions !== "sync") {
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        "This backend's transactions are asynchronous: use enqueue(task, input, { transaction })",
      );
    }
  }

  #checkSize(tasks: readonly NewTask[]): void {
    const { maxBatch } = this.#runtime.taskQueue.capabilities;
    if (tasks.length > maxBatch) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `One atomic call has ${tasks.length} tasks; this backend takes at most ${maxBatch}. Cut it into several calls`,
      );
    }
    if (tasks.length < 2) return;
    let characters = 0;
    for (const task of tasks) characters += charactersOf(task);
    if (characters > maxCallCharacters) {
      throw new OmniQError(
        "OMNIQ_INVALID_INPUT",
        `The inputs of one atomic call have ${characters} characters as text; at most ${maxCallCharacters} go in one. Cut it into several calls`,
      );
    }
  }

  #call(tasks: readonly NewTask[], generatedIds: boolean): EnqueueCall {
    const { eventStorage, eventsTogether } = this.#runtime;
    const events = eventStorage && eventsTogether ? tasks.map((task) => this.#event(task)) : undefined;
    return { tasks, events, generatedIds };
  }

  #event(task: NewTask): NewEvent {
    return this.#runtime.event("enqueued", { id: task.id, name: task.name, queue: task.queue, run: 1, attempt: 0 });
  }

  #send(tasks: readonly NewTask[], generatedIds: boolean, options: EnqueueCallOptions): Promise<EnqueueAnswer> {
    const call = this.#call(tasks, generatedIds);
    return options.transaction === undefined
      ? this.#coalescer.send(call, options.signal)
      : this.#sendInTransaction(call, options);
  }

  async #sendInTransaction(call: EnqueueCall, options: EnqueueCallOptions): Promise<EnqueueAnswer> {
    const [answer] = await this.#runtime.taskQueue.enqueue([call], {
      transaction: options.transaction,
      signal: options.signal,
    });
    return answer as EnqueueAnswer;
  }

  /**
   * Events of a storage of its own backend come after the fact. In a user's transaction there is no fact yet, so there
   * they are left out.
   */
  async #appendApart(
    tasks: readonly NewTask[],
    receipts: readonly EnqueueReceipt[],
    options: EnqueueCallOptions,
  ): Promise<void> {
    const { eventStorage, eventsTogether, logger } = this.#runtime;
    if (!eventStorage || eventsTogether || options.transaction !== undefined) return;
    const events = tasks.filter((_, index) => receipts[index]?.state === "enqueued").map((task) => this.#event(task));
    try {
      for (let at = 0; at < events.length; at += eventStorage.capabilities.maxBatch) {
        await eventStorage.append(events.slice(at, at + eventStorage.capabilities.maxBatch));
      }
    } catch (error) {
      // The tasks are durable; saying that the call failed would make the user enqueue them again.
      logger.warn("Tasks were enqueued, but their events could not be stored", { count: events.length, error });
    }
  }

  #outcomes(
    prepared: PreparedCalls,
    tasks: readonly NewTask[],
    receipts: readonly EnqueueReceipt[],
  ): readonly Enqueued[] {
    return prepared.roots.map((root) => {
      const task = tasks[root] as NewTask;
      const receipt = receipts[root] as EnqueueReceipt;
      const own = receipt.state === "duplicate" && prepared.generated.has(task.id);
      return { task, id: receipt.id, receipt: own ? "enqueued" : receipt.state };
    });
  }

  /** Gives the queue the stored results of dependencies that it no longer knows. */
  async #resolve(
    tasks: readonly NewTask[],
    ids: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<readonly NewTask[]> {
    const { resultStorage } = this.#runtime;
    if (!resultStorage) throw notFound(ids, "There is no result storage to look for it in");
    const found = new Map<string, StoredResult>();
    for (let at = 0; at < ids.length; at += resultStorage.capabilities.maxBatch) {
      for (const result of await resultStorage.get(ids.slice(at, at + resultStorage.capabilities.maxBatch), {
        signal,
      })) {
        if (result) found.set(result.taskId, result);
      }
    }
    const missing = ids.filter((id) => !found.has(id));
    if (missing.length > 0) throw notFound(missing, "It was never enqueued, or its result is gone");
    return tasks.map((task) =>
      task.dependencies === undefined
        ? task
        : { ...task, dependencies: task.dependencies.map((edge) => withOutcome(edge, found.get(edge.taskId))) },
    );
  }
}

const allGenerated: PreparedCalls["generated"] = { has: () => true };

/** A call's options are frozen, and mostly empty. */
function hasKeys(options: object | undefined): boolean {
  for (const _key in options) return true;
  return false;
}

function withOutcome(edge: Dependency, result: StoredResult | undefined): Dependency {
  if (result === undefined) return edge;
  const { taskId, run, attempt, status, value, error, finishedAt } = result;
  return { ...edge, outcome: { taskId, run, attempt, status, value, error, finishedAt } };
}

function notFound(ids: readonly string[], reason: string): OmniQError {
  const shown = ids
    .slice(0, 5)
    .map((id) => JSON.stringify(id))
    .join(", ");
  const more = ids.length > 5 ? ` and ${ids.length - 5} more` : "";
  return new OmniQError(
    "OMNIQ_TASK_NOT_FOUND",
    `Nothing was enqueued: a dependency is unknown: ${shown}${more}. ${reason}`,
    { taskId: ids[0] },
  );
}
