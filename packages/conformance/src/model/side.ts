// One side of a comparison: a task queue, its clients and its leases, and what it answers once tokens and times are taken away.
import { isOmniQError } from "@omniq/core";
import type {
  DependencyOutcome,
  Lease,
  LeaseReference,
  NewTask,
  QueueCounts,
  Settlement,
  StoredTask,
  TaskQueue,
} from "@omniq/core";
import type { Command, TaskSeed } from "./command.ts";

/** A rate limit's window in histories. */
const rateWindowMs = 1_000;
/** What a release with a delay waits where time does not pass. */
const snoozeMs = 600_000;

export class Side {
  readonly #clients: readonly TaskQueue[];
  readonly #prefix: string;
  readonly #leaseMs: number;
  /** Every lease that was ever given, in order; settled and stale ones too. */
  readonly #leases: Lease[] = [];
  /** Leases of tasks that were removed since: whether their settlements are remembered is the queue's own affair. */
  readonly #removed: Set<string> = new Set();
  /** Outcomes of tasks that were completed through this side, by id. */
  readonly #completed: Map<string, DependencyOutcome> = new Map();
  #next = 0;

  /** `prefix` keeps the ids and queues of one history apart from those of others. */
  constructor(clients: readonly TaskQueue[], prefix: string, leaseMs: number) {
    this.#clients = clients;
    this.#prefix = prefix;
    this.#leaseMs = leaseMs;
  }

  /** Does the command on the next client in turn. The answer holds nothing that two right queues may answer differently. */
  async run(command: Command): Promise<unknown> {
    const client = this.#clients[this.#next++ % this.#clients.length];
    if (client === undefined) throw new RangeError("a side has at least one client");
    try {
      return await this.#run(client, command);
    } catch (error) {
      if (isOmniQError(error)) return { error: error.code };
      throw error;
    }
  }

  /** Everything that can be seen of this history's tasks. */
  async look(): Promise<unknown> {
    const client = this.#clients[this.#next % this.#clients.length];
    if (client === undefined) throw new RangeError("a side has at least one client");
    const queues = [this.#queue(0), this.#queue(1)];
    const counts = await client.counts(queues);
    const tasks: unknown[] = [];
    for (const queue of queues)
      tasks.push((await client.list({ queue }, { limit: 1_000 })).items.map((task) => this.#task(task)));
    return { counts: queues.map((queue): QueueCounts | undefined => counts[queue]), tasks };
  }

  #id(id: number): string {
    return `${this.#prefix}t${id}`;
  }

  #queue(queue: 0 | 1): string {
    return `${this.#prefix}q${queue}`;
  }

  #newTask(seed: TaskSeed): NewTask {
    return {
      id: this.#id(seed.id),
      name: `n${seed.id % 2}`,
      queue: this.#queue(seed.queue),
      payload: `p${seed.id}`,
      envelope: "{}",
      priority: seed.priority,
      maxAttempts: seed.maxAttempts,
      resultTtlMs: 60_000,
      rememberMs: seed.forgotten ? 0 : 600_000,
      ...(seed.delayMs === undefined ? {} : { delayMs: seed.delayMs }),
      ...(seed.expiresInMs === undefined ? {} : { expiresInMs: seed.expiresInMs }),
      ...(seed.key === undefined ? {} : { deduplicate: { ...seed.key, key: `k${seed.key.key}` } }),
      ...(seed.group === undefined ? {} : { group: { key: `g${seed.group.key}`, limit: seed.group.limit } }),
      ...(seed.dependsOn === undefined || seed.dependsOn.ids.length === 0
        ? {}
        : {
            dependencies: seed.dependsOn.ids.map((id) => ({
              taskId: this.#id(id),
              onFailure: seed.dependsOn?.onFailure ?? "fail",
            })),
          }),
    };
  }

  /** Without times: the clocks of two queues may differ by a millisecond, and pauses after an expiry are random. */
  #task(task: StoredTask | undefined): unknown {
    if (task === undefined) return undefined;
    const { enqueuedAt: _e, runAt: _r, expiresAt, startedAt, finishedAt, error, ...rest } = task;
    const plain: Record<string, unknown> = {
      ...rest,
      expires: expiresAt !== undefined,
      started: startedAt !== undefined,
      finished: finishedAt !== undefined,
      error: plainError(error),
    };
    for (const [name, value] of Object.entries(plain)) if (value === undefined) delete plain[name];
    return plain;
  }

  async #run(client: TaskQueue, command: Command): Promise<unknown> {
    switch (command.verb) {
      case "enqueue":
        return client.enqueue([{ tasks: command.tasks.map((seed) => this.#newTask(seed)) }]);
      case "reserve": {
        const leases = await client.reserve({
          queues: command.queues.map((queue) => this.#queue(queue)),
          limit: command.limit,
          leaseMs: this.#leaseMs,
          waitMs: 0,
          worker: "w",
        });
        this.#leases.push(...leases);
        return leases.map((lease) => [
          lease.taskId,
          lease.queue,
          lease.run,
          lease.attempt,
          lease.cancelling,
          this.#task(lease.task),
          lease.dependencies.map(({ taskId, run, attempt, status, value, error }) => [
            taskId,
            run,
            attempt,
            status,
            value ?? null,
            plainError(error) ?? null,
          ]),
        ]);
      }
      case "settle": {
        const lease = this.#lease(command.lease);
        if (lease === undefined) return "no lease yet";
        const settlement = settlementOf(lease, command);
        const states = await client.settle([settlement]);
        if (settlement.outcome === "completed" && states[0] === "settled") {
          const { taskId, run, attempt, outcome: status, value } = settlement;
          this.#completed.set(taskId, { taskId, run, attempt, status, value, finishedAt: 1_700_000_000_000 });
        }
        return this.#removed.has(lease.token) ? "of a task that was removed" : states;
      }
      case "extend": {
        const lease = this.#lease(command.lease);
        return lease === undefined
          ? "no lease yet"
          : (await client.extend([{ ...lease, progress: "half" }], this.#leaseMs)).map(({ state }) => state);
      }
      case "get":
        return this.#task((await client.get([this.#id(command.id)]))[0]);
      case "cancel":
        return client.cancel([this.#id(command.id)]);
      case "retry":
        return client.retry(
          command.ids.map((id) => this.#id(id)),
          command.outcomes ? { outcomes: [...this.#completed.values()] } : {},
        );
      case "remove": {
        const states = await client.remove([this.#id(command.id)]);
        await this.#noteRemoved(client);
        return states;
      }
      case "pause":
        return client.pause(this.#queue(command.queue));
      case "resume":
        return client.resume(this.#queue(command.queue));
      case "limit":
        return client.configureQueue(this.#queue(command.queue), { maxActive: command.maxActive });
      case "rate":
        return client.configureQueue(this.#queue(command.queue), {
          rateLimit: command.limit === null ? null : { limit: command.limit, windowMs: rateWindowMs },
        });
      case "purge": {
        const count = await client.purge(this.#queue(command.queue), command.states);
        await this.#noteRemoved(client);
        return count;
      }
      case "record":
        return this.record(client);
      case "pass":
        return undefined;
    }
  }

  /** Records what the queue decided about this history's tasks, and says what that was. */
  async record(client: TaskQueue | undefined = this.#clients[0]): Promise<unknown> {
    const outcomes =
      (await client?.unrecorded(1_000))?.filter((outcome) => outcome.taskId.startsWith(this.#prefix)) ?? [];
    await client?.record(outcomes.map(({ taskId, run }) => ({ taskId, run })));
    // Oldest first, but what was decided in one millisecond has no order that is promised.
    return outcomes
      .map(({ finishedAt: _, error, ...rest }) => ({ ...rest, error: plainError(error) ?? null }))
      .sort((a, b) => (a.taskId < b.taskId ? -1 : a.taskId > b.taskId ? 1 : a.run - b.run));
  }

  /** After a removal: leases of tasks that are not there. */
  async #noteRemoved(client: TaskQueue): Promise<void> {
    const tasks = await client.get(this.#leases.map((lease) => lease.taskId));
    for (const [index, lease] of this.#leases.entries()) if (tasks[index] === undefined) this.#removed.add(lease.token);
  }

  /** Any lease of the past: small numbers are the latest ones. */
  #lease(number: number): LeaseReference | undefined {
    const lease = this.#leases[this.#leases.length - 1 - number];
    return lease === undefined
      ? undefined
      : { taskId: lease.taskId, queue: lease.queue, token: lease.token, run: lease.run, attempt: lease.attempt };
  }
}

function settlementOf(lease: LeaseReference, command: Extract<Command, { verb: "settle" }>): Settlement {
  const { outcome, delayMs } = command;
  if (outcome === "release") return { ...lease, outcome };
  if (outcome === "snooze") return { ...lease, outcome: "release", delayMs: delayMs === 0 ? snoozeMs : delayMs };
  if (outcome === "retry") return { ...lease, outcome, delayMs, error: "again" };
  if (outcome !== "completed") return { ...lease, outcome, storeResult: false, error: "no" };
  return { ...lease, outcome, storeResult: false, value: `value ${lease.run} ${lease.attempt}` };
}

/** Of an error that the queue wrote, code and task: its message is free. */
function plainError(error: string | undefined): unknown {
  if (error === undefined || !error.startsWith("{")) return error;
  const { code, taskId } = JSON.parse(error) as { code?: string; taskId?: string };
  return { code, taskId };
}
