// What the cases of the task queue work with: short verbs for one task, on the contract's verbs for many.
import assert from "node:assert/strict";
import { expiryPauseMs } from "@omniq/core";
import type {
  EnqueueAnswer,
  EnqueueReceipt,
  Lease,
  LeaseState,
  NewTask,
  QueueCancelState,
  QueueCounts,
  RemoveState,
  ReserveRequest,
  RetryState,
  Settlement,
  SettleState,
  StoredTask,
  TaskQueue,
  TaskQueueCapabilities,
  UnrecordedOutcome,
} from "@omniq/core";
import type { Rule } from "../rules.ts";
import type { Case, World } from "../suite.ts";

/** Capabilities that are there or not. */
export type Feature =
  | "priorities"
  | "dependencies"
  | "deduplication"
  | "groups"
  | "queueLimits"
  | "rateLimits"
  | "durable";

/** How long cases lease, if the queue allows leases that short. */
const shortLeaseMs = 300;
/** More than clocks, timers and a busy machine disagree by. */
export const marginMs = 30;

/** One queue under test. Ids are counted, so that a failing case reads well. */
export class Bench {
  readonly queue: TaskQueue;
  readonly world: World;
  /** The lease of this bench: short, so that cases can let it run out. */
  readonly leaseMs: number;
  #made = 0;

  constructor(queue: TaskQueue, world: World) {
    this.queue = queue;
    this.world = world;
    this.leaseMs = Math.max(shortLeaseMs, queue.capabilities.minimumLeaseMs);
  }

  /** The same bench on another connection's queue; ids go on. */
  on(queue: TaskQueue): Bench {
    const bench = new Bench(queue, this.world);
    bench.#made = this.#made;
    return bench;
  }

  /** A task with a fresh id, due at once, in the queue `main`. */
  task(overrides: Partial<NewTask> = {}): NewTask {
    this.#made += 1;
    return {
      id: `task-${this.#made}`,
      name: "work",
      queue: "main",
      payload: `{"n":${this.#made}}`,
      envelope: "{}",
      priority: 0,
      maxAttempts: 3,
      resultTtlMs: 60_000,
      rememberMs: 60_000,
      ...overrides,
    };
  }

  /** One call with these tasks. */
  async call(tasks: readonly NewTask[]): Promise<EnqueueAnswer> {
    const [answer] = await this.queue.enqueue([{ tasks }]);
    assert.ok(answer, "enqueue answers each call");
    return answer;
  }

  /** One call that must be accepted. */
  async receipts(tasks: readonly NewTask[]): Promise<readonly EnqueueReceipt[]> {
    const answer = await this.call(tasks);
    assert.equal(answer.state, "accepted");
    if (answer.state !== "accepted") throw new Error("not accepted");
    return answer.receipts;
  }

  async receipt(task: NewTask): Promise<EnqueueReceipt> {
    const [receipt] = await this.receipts([task]);
    assert.ok(receipt, "a receipt for each task");
    return receipt;
  }

  /** Stores one new task and gives its id. */
  async add(overrides: Partial<NewTask> = {}): Promise<string> {
    const task = this.task(overrides);
    assert.deepEqual(await this.receipt(task), { id: task.id, state: "enqueued" });
    return task.id;
  }

  async take(limit: number = 1, overrides: Partial<ReserveRequest> = {}): Promise<readonly Lease[]> {
    return this.queue.reserve({
      queues: ["main"],
      limit,
      leaseMs: this.leaseMs,
      waitMs: 0,
      worker: "bench",
      ...overrides,
    });
  }

  /** Exactly one lease, with time enough to work on. */
  async takeOne(overrides: Partial<ReserveRequest> = {}): Promise<Lease> {
    const [lease] = await this.take(1, { leaseMs: 60_000, ...overrides });
    assert.ok(lease, "a task is ready and reserve gives its lease");
    return lease;
  }

  async none(overrides: Partial<ReserveRequest> = {}): Promise<void> {
    assert.deepEqual(
      (await this.take(10, overrides)).map((lease) => lease.taskId),
      [],
      "reserve gives nothing",
    );
  }

  async takenIds(limit: number, overrides: Partial<ReserveRequest> = {}): Promise<readonly string[]> {
    return (await this.take(limit, { leaseMs: 60_000, ...overrides })).map((lease) => lease.taskId);
  }

  /** Waits until an expired lease's task is due again at the latest, and takes it. */
  async redelivered(overrides: Partial<ReserveRequest> = {}): Promise<Lease> {
    const most = expiryPauseMs + marginMs;
    if (!this.world.clock.controlled) return this.takeOne({ waitMs: most + 4_000, ...overrides });
    // The pause starts when the dead lease is noticed, and may be none at all.
    const [lease] = await this.take(1, { leaseMs: 60_000, ...overrides });
    if (lease !== undefined) return lease;
    await this.world.clock.pass(most);
    return this.takeOne(overrides);
  }

  /** Lets a lease of `leaseMs` run out. */
  async runOut(): Promise<void> {
    await this.pass(this.leaseMs + marginMs);
  }

  async pass(ms: number): Promise<void> {
    await this.world.clock.pass(ms);
  }

  async settle(settlement: Settlement): Promise<SettleState> {
    const [state] = await this.queue.settle([settlement]);
    assert.ok(state, "settle answers each settlement");
    return state;
  }

  async complete(lease: Lease, value?: string): Promise<void> {
    assert.equal(
      await this.settle({ ...reference(lease), outcome: "completed", storeResult: false, value }),
      "settled",
    );
  }

  async fail(lease: Lease, error: string = "{}"): Promise<void> {
    assert.equal(await this.settle({ ...reference(lease), outcome: "failed", storeResult: false, error }), "settled");
  }

  async settleCancelled(lease: Lease): Promise<void> {
    assert.equal(await this.settle({ ...reference(lease), outcome: "cancelled", storeResult: false }), "settled");
  }

  async retryLater(lease: Lease, delayMs: number, error: string = "{}"): Promise<void> {
    assert.equal(await this.settle({ ...reference(lease), outcome: "retry", delayMs, error }), "settled");
  }

  async release(lease: Lease): Promise<void> {
    assert.equal(await this.settle({ ...reference(lease), outcome: "release" }), "settled");
  }

  async extend(lease: Lease, leaseMs: number = this.leaseMs, progress?: string): Promise<LeaseState> {
    const [state] = await this.queue.extend([{ ...reference(lease), progress }], leaseMs);
    assert.ok(state, "extend answers each lease");
    return state;
  }

  async find(id: string): Promise<StoredTask | undefined> {
    const found = await this.queue.get([id]);
    assert.equal(found.length, 1, "get answers each id");
    return found[0];
  }

  async get(id: string): Promise<StoredTask> {
    const task = await this.find(id);
    assert.ok(task, `${id} is in the queue`);
    return task;
  }

  async state(id: string): Promise<string> {
    return (await this.find(id))?.state ?? "gone";
  }

  async cancel(id: string): Promise<QueueCancelState> {
    return first(await this.queue.cancel([id]));
  }

  async remove(id: string): Promise<RemoveState> {
    return first(await this.queue.remove([id]));
  }

  async retry(id: string): Promise<RetryState> {
    return first(await this.queue.retry([id]));
  }

  async counts(queue: string = "main"): Promise<QueueCounts> {
    const counts = (await this.queue.counts([queue]))[queue];
    assert.ok(counts, "counts answers each queue that was asked for");
    return counts;
  }

  /** The unrecorded outcome of a task. */
  async outcome(id: string): Promise<UnrecordedOutcome> {
    const outcome = (await this.queue.unrecorded(1_000)).find((one) => one.taskId === id);
    assert.ok(outcome, `${id} has an unrecorded outcome`);
    return outcome;
  }

  async record(id: string, run: number = 1): Promise<void> {
    await this.queue.record([{ taskId: id, run }]);
  }

  /** A dead letter whose result is stored. */
  async addDeadLetter(overrides: Partial<NewTask> = {}, error: string = "{}"): Promise<string> {
    const id = await this.add(overrides);
    const lease = await this.takeOne({ queues: [overrides.queue ?? "main"] });
    assert.equal(lease.taskId, id, "the only ready task is taken");
    await this.fail(lease, error);
    return id;
  }
}

/** What names a lease, without the task. */
export function reference(lease: Lease): Pick<Lease, "taskId" | "queue" | "token" | "run" | "attempt"> {
  return { taskId: lease.taskId, queue: lease.queue, token: lease.token, run: lease.run, attempt: lease.attempt };
}

/** The one answer of a call with one item. */
export function first<T>(answers: readonly T[]): T {
  assert.equal(answers.length, 1, "one answer for one item");
  return answers[0] as T;
}

/** Rejects with this code. */
export async function rejects(call: () => Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(call, (error: { code?: unknown }) => {
    assert.equal(error.code, code);
    return true;
  });
}

/** A case of the task queue; `needs` are the capabilities without which it can not run. */
export function proves(
  rule: Rule,
  title: string,
  run: (bench: Bench) => Promise<void>,
  needs: readonly Feature[] = [],
): Case<TaskQueue> {
  return {
    rule,
    title,
    unless: (_world, queue) => lacking(queue.capabilities, needs),
    run: (queue, world) => run(new Bench(queue, world)),
  };
}

/** Why a queue with these capabilities can not run a case. */
export function lacking(capabilities: TaskQueueCapabilities, needs: readonly Feature[]): string | undefined {
  const missing = needs.filter((feature) => !capabilities[feature]);
  return missing.length === 0 ? undefined : `the queue has no ${missing.join(", ")}`;
}
