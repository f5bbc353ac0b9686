// A backend for tests of the client alone: the few verbs that it needs, in maps, with a clock that the test sets. No workers.
import type {
  EnqueueCall,
  NewSchedule,
  NewTask,
  ResultReference,
  ResultStorage,
  ScheduleStorage,
  StoredResult,
  StoredSchedule,
  StoredTask,
  TaskQueue,
  UnrecordedOutcome,
} from "../src/contracts/index.ts";

export class StubBackend {
  readonly type: string = "stub";
  readonly contract = 1 as const;
  now: number = 1_000_000;
  closed: number = 0;
  readonly calls: EnqueueCall[][] = [];
  readonly tasks: Map<string, StoredTask> = new Map();
  readonly enqueued: Map<string, NewTask> = new Map();
  readonly results: Map<string, StoredResult> = new Map();
  readonly schedules: Map<string, StoredSchedule> = new Map();
  readonly settings: Map<string, unknown> = new Map();
  unrecorded: UnrecordedOutcome[] = [];
  #revision = 0;
  readonly #wakers: Set<() => void> = new Set();
  readonly #queue: TaskQueue = this.#makeQueue();
  readonly #resultStorage: ResultStorage = this.#makeResults();
  readonly #scheduleStorage: ScheduleStorage = this.#makeSchedules();

  async check(): Promise<void> {}
  async close(): Promise<void> {
    this.closed++;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
  taskQueue(): TaskQueue {
    return this.#queue;
  }
  resultStorage(): ResultStorage {
    return this.#resultStorage;
  }
  scheduleStorage(): ScheduleStorage {
    return this.#scheduleStorage;
  }

  /** Ends a task as a worker would. */
  finish(id: string, more: Partial<StoredResult>, keep = false): void {
    const task = this.tasks.get(id) as StoredTask;
    const { name, queue, run } = task;
    if (keep) this.tasks.set(id, { ...task, state: "failed", finishedAt: this.now });
    else this.tasks.delete(id);
    this.putResult({
      taskId: id,
      run,
      attempt: 1,
      name,
      queue,
      status: "completed",
      finishedAt: this.now,
      expiresAt: null,
      ...more,
    });
  }
  putResult(result: StoredResult): void {
    if ((this.results.get(result.taskId)?.run ?? 0) < result.run) this.results.set(result.taskId, result);
    for (const wake of this.#wakers) wake();
  }

  #makeQueue(): TaskQueue {
    const queue = {
      component: "task-queue",
      backend: this,
      capabilities: {
        durable: false,
        push: true,
        reach: "process",
        transactions: false,
        priorities: true,
        dependencies: true,
        deduplication: true,
        groups: true,
        queueLimits: true,
        rateLimits: false,
        remoteHeartbeats: false,
        maxPayloadBytes: 524_288,
        maxBatch: 100,
        minimumLeaseMs: 1,
      },
      enqueue: async (calls: readonly EnqueueCall[]) => {
        this.calls.push([...calls]);
        return calls.map(({ tasks }) => {
          const ids = new Set(tasks.map(({ id }) => id));
          const edges = tasks.flatMap(({ dependencies = [] }) => dependencies);
          const taskIds = edges
            .filter((edge) => !edge.outcome && !ids.has(edge.taskId) && !this.tasks.has(edge.taskId))
            .map(({ taskId }) => taskId);
          if (taskIds.length > 0) return { state: "unknown-dependencies", taskIds };
          return { state: "accepted", receipts: tasks.map((task) => this.#add(task)) };
        });
      },
      get: async (ids: readonly string[]) => ids.map((id) => this.tasks.get(id)),
      cancel: async (ids: readonly string[]) =>
        ids.map((id) => {
          const task = this.tasks.get(id);
          if (task?.state !== "ready") return "unknown";
          this.#end(task, "cancelled");
          return "cancelled";
        }),
      retry: async (ids: readonly string[]) =>
        ids.map((id) => {
          const task = this.tasks.get(id);
          if (task?.state !== "failed") return "unknown";
          this.tasks.set(id, { ...task, state: "ready", run: task.run + 1, attempt: 0 });
          return "retried";
        }),
      unrecorded: async (limit: number) => this.unrecorded.slice(0, limit),
      record: async (outcomes: readonly { taskId: string }[]) => {
        for (const { taskId } of outcomes) if (this.tasks.get(taskId)?.state !== "failed") this.tasks.delete(taskId);
        this.unrecorded = this.unrecorded.filter(
          ({ taskId }) => !outcomes.some((outcome) => outcome.taskId === taskId),
        );
      },
      configureQueue: async (name: string, settings: unknown) => void this.settings.set(name, settings),
      sweep: async () => {
        for (const task of this.tasks.values()) {
          if (task.state === "ready" && task.expiresAt !== undefined && task.expiresAt <= this.now)
            this.#end(task, "expired");
        }
        return 0;
      },
    };
    return queue as unknown as TaskQueue;
  }

  #add(task: NewTask): { id: string; state: "enqueued" | "duplicate" } {
    if (this.enqueued.has(task.id)) return { id: task.id, state: "duplicate" };
    this.enqueued.set(task.id, task);
    const { id, name, queue, payload, envelope, priority, maxAttempts, resultTtlMs, expiresInMs } = task;
    this.tasks.set(id, {
      id,
      name,
      queue,
      payload,
      envelope,
      priority,
      maxAttempts,
      resultTtlMs,
      state: "ready",
      run: 1,
      attempt: 0,
      expiries: 0,
      enqueuedAt: this.now,
      runAt: this.now,
      cancelling: false,
      ...(expiresInMs === undefined ? {} : { expiresAt: this.now + expiresInMs }),
    });
    return { id, state: "enqueued" };
  }

  #end(task: StoredTask, status: "cancelled" | "expired"): void {
    const { id: taskId, run, attempt, name, queue, resultTtlMs } = task;
    this.tasks.set(taskId, { ...task, state: status });
    this.unrecorded.push({ taskId, run, attempt, name, queue, status, finishedAt: this.now, resultTtlMs });
  }

  #makeResults(): ResultStorage {
    const there = (references: readonly ResultReference[]): StoredResult[] =>
      references.flatMap(({ taskId, run }) => {
        const result = this.results.get(taskId);
        return result && result.run >= run ? [result] : [];
      });
    const storage = {
      component: "result-storage",
      backend: this,
      capabilities: { durable: false, push: true, reach: "process", maxValueBytes: 524_288, maxBatch: 100 },
      put: async (results: readonly (Omit<StoredResult, "expiresAt"> & { ttlMs: number | null })[]) => {
        for (const { ttlMs: _ttlMs, ...result } of results) this.putResult({ ...result, expiresAt: null });
        return [];
      },
      get: async (ids: readonly string[]) => ids.map((id) => this.results.get(id)),
      wait: async (references: readonly ResultReference[], waitMs: number, { signal }: { signal: AbortSignal }) => {
        if (there(references).length > 0) return there(references);
        await new Promise<void>((resolve) => {
          const done = (): void => {
            clearTimeout(timer);
            this.#wakers.delete(look);
            resolve();
          };
          const look = (): void => {
            if (there(references).length > 0) done();
          };
          const timer = setTimeout(done, waitMs);
          this.#wakers.add(look);
          signal.addEventListener("abort", done);
        });
        signal.throwIfAborted();
        return there(references);
      },
      sweep: async () => 0,
    };
    return storage as unknown as ResultStorage;
  }

  #makeSchedules(): ScheduleStorage {
    const write = (schedule: NewSchedule): StoredSchedule => {
      const stored = { ...schedule, revision: String(++this.#revision) };
      this.schedules.set(schedule.id, stored);
      return stored;
    };
    const storage = {
      component: "schedule-storage",
      backend: this,
      put: async (schedule: NewSchedule, revision: string | null | undefined) =>
        revision !== undefined && revision !== (this.schedules.get(schedule.id)?.revision ?? null)
          ? undefined
          : write(schedule),
      get: async (ids: readonly string[]) => ids.map((id) => this.schedules.get(id)),
      list: async () => ({ items: [...this.schedules.values()] }),
      delete: async (ids: readonly string[]) => ids.map((id) => this.schedules.delete(id)),
      due: async (limit: number) => ({
        now: this.now,
        schedules: [...this.schedules.values()]
          .filter(({ paused, nextAt }) => !paused && nextAt !== null && nextAt <= this.now)
          .slice(0, limit),
      }),
      advance: async (id: string, revision: string, next: { nextAt: number | null; runs: number }) => {
        const stored = this.schedules.get(id);
        if (stored?.revision !== revision) return false;
        write({ ...stored, ...next });
        return true;
      },
    };
    return storage as unknown as ScheduleStorage;
  }
}
