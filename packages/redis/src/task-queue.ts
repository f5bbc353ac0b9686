// The task queue on Redis: each verb is one script over the whole batch; here they meet waiting, and text becomes types.
import { randomFillSync } from "node:crypto";
import {
  OmniQError,
  type CallOptions,
  type EnqueueAnswer,
  type EnqueueCall,
  type EnqueueOptions,
  type Lease,
  type LeaseExtension,
  type LeaseState,
  type NewTask,
  type Page,
  type PageRequest,
  type QueueCancelState,
  type QueueCounts,
  type QueueSettings,
  type RemoveState,
  type ReserveOptions,
  type ReserveRequest,
  type RetryOptions,
  type RetryState,
  type Settlement,
  type SettleState,
  type StoredTask,
  type StoredTaskState,
  type TaskFilter,
  type TaskQueue,
  type TaskQueueCapabilities,
  type UnrecordedOutcome,
} from "@omniq/core";
import { byBytes } from "./by-bytes.ts";
import { damagedTask, endingOf, readLease, readTask, readUnrecorded } from "./codec.ts";
import { onlyPlain, readAnswers, writeCalls, writeOne, writeSettlements } from "./batches.ts";
import type { Connection } from "./connection.ts";
import type { DamageReports } from "./damage-reports.ts";
import { Inbox, placeOf } from "./inbox.ts";
import { Kinds, type Kind, type KindFields } from "./kinds.ts";
import { hasLeases, readLeases, readReply, type ReserveAnswer, type ReserveReply } from "./leases.ts";
import { Lifetime } from "./lifetime.ts";
import type { Notices } from "./notices.ts";
import { listKey, readSequencePage, writeCursor } from "./pages.ts";
import { Waiting, type Wait } from "./waiting.ts";

const purgeStepSize = 500;
/** How many records one step of a list looks at. */
const listBudget = 2_000;

const pool = Buffer.allocUnsafe(12 * 512);
let used = pool.length;
/** What the tokens of one reserve begin with. Random bytes are drawn in bulk. */
function newToken(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 12;
  return pool.toString("base64url", used - 12, used);
}

type KindOf = (reference: string) => KindFields | undefined;
type Shown = readonly [id: string, record: string, lease: string, edges: readonly string[]];

export class RedisTaskQueue implements TaskQueue {
  readonly component = "task-queue" as const;
  readonly backend: object;
  readonly capabilities: TaskQueueCapabilities;
  readonly #connection: Connection;
  readonly #waiting: Waiting;
  readonly #kinds: Kinds;
  readonly #inbox: Inbox;
  readonly #notices: Notices;
  readonly #damage: DamageReports;
  readonly #life: Lifetime;

  constructor(
    backend: object,
    connection: Connection,
    notices: Notices,
    damage: DamageReports,
    capabilities: TaskQueueCapabilities,
    onClose: () => Promise<void>,
  ) {
    this.backend = backend;
    this.#notices = notices;
    this.#damage = damage;
    this.capabilities = capabilities;
    this.#connection = connection;
    this.#waiting = new Waiting(connection);
    this.#kinds = new Kinds(connection);
    this.#inbox = new Inbox(connection);
    this.#life = new Lifetime("task queue", async () => {
      await this.#waiting.idle();
      await onClose();
    });
  }

  enqueue(calls: readonly EnqueueCall[], options: EnqueueOptions = {}): Promise<readonly EnqueueAnswer[]> {
    return new Promise((resolve, reject) => {
      this.#life.check(options.signal);
      if (options.transaction !== undefined) {
        throw new OmniQError(
          "OMNIQ_UNSUPPORTED",
          "Redis has no transactions that a task could be part of; enqueue after your own commit, or use PostgreSQL or SQLite",
        );
      }
      if (calls.length === 0) return resolve([]);
      const task = this.#connection.options.waitReplicas === 0 ? onlyPlain(calls) : undefined;
      const kind = task === undefined ? undefined : this.#kinds.of(task);
      if (task === undefined || kind?.reference === undefined) return resolve(this.#enqueueAny(calls));
      if (calls[0]?.generatedIds === true) {
        const added = (id: unknown): void =>
          resolve(id === null ? this.#enqueueAny(calls, "kinds") : readAnswers(calls, 1));
        if (this.#inbox.send(kind, task, added, reject)) return;
      }
      const connection = this.#connection.number;
      const stored = (answer: unknown): void => {
        const inbox = typeof answer === "string" && answer.startsWith("@") ? answer.slice(1) : undefined;
        if (inbox !== undefined && kind.place?.connection !== connection)
          kind.place = placeOf(this.#connection, connection, inbox, kind);
        resolve(inbox !== undefined || answer === 1 ? readAnswers(calls, 1) : this.#enqueueAny(calls, answer));
      };
      this.#connection.call("enqueue", writeOne(task, kind.reference), stored, reject);
    });
  }

  /** `before`: what the short way answered. */
  async #enqueueAny(calls: readonly EnqueueCall[], before: unknown = undefined): Promise<readonly EnqueueAnswer[]> {
    const runs = byBytes(calls, weightOfCall, "A call of enqueue");
    if (runs.length === 1) return await this.#enqueueRun(calls, before);
    const answers: EnqueueAnswer[] = [];
    for (const run of runs) answers.push(...(await this.#enqueueRun(run, undefined)));
    return answers;
  }

  async #enqueueRun(calls: readonly EnqueueCall[], before: unknown): Promise<readonly EnqueueAnswer[]> {
    const kindOf = (task: NewTask): Kind => this.#kinds.of(task);
    const send = (): Promise<unknown> => this.#write("enqueue", writeCalls(calls, kindOf));
    let answer = before === "kinds" ? before : await send();
    if (answer === "kinds") {
      // The server was emptied: tasks say all themselves, and kinds are stored anew in time.
      this.#kinds.forget();
      answer = await send();
    }
    return readAnswers(calls, answer);
  }

  reserve(request: ReserveRequest, options: ReserveOptions = {}): Promise<readonly Lease[]> {
    // One promise for all of it, since a task starts only after each has had its turn.
    return new Promise((resolve, reject) => {
      const { signal, onLeases } = options;
      const ended = this.#life.signal;
      this.#life.check(signal);
      const until = performance.now() + request.waitMs;
      let sentAt = performance.now();
      const given = (leases: readonly Lease[]): void => {
        // All that came was damaged: it is out of the way now.
        if (leases.length === 0) return look();
        if (onLeases === undefined) return resolve(leases);
        onLeases(leases);
        resolve([]);
      };
      const found = (reply: ReserveReply): void => {
        if (!hasLeases(reply)) return wait(reply);
        if (signal?.aborted !== true && !ended.aborted) {
          const leases = this.#leases(reply, sentAt);
          if (leases instanceof Promise) leases.then(given).catch(reject);
          else given(leases);
          return;
        }
        // Aborted meanwhile: the tasks keep their place.
        this.#giveBack(reply).then(() => wait(reply), reject);
      };
      const wait = ({ now, nextAt }: ReserveReply): void => {
        if (signal?.aborted === true) return reject(signal.reason as Error);
        const waitMs = until - performance.now();
        if (ended.aborted || waitMs <= 0) return resolve([]);
        sentAt = performance.now();
        const asked: Wait = {
          queues: request.queues,
          waitMs,
          lookInMs: nextAt === undefined ? undefined : nextAt - now,
          signals: [signal, ended],
          request: (stopKey) => reserveArguments(request, "b", stopKey),
          abandoned: (late) => this.#giveBack(late),
        };
        this.#waiting.wait(
          asked,
          (reply) => {
            if (reply !== undefined) found(reply);
            else if (signal?.aborted === true) reject(signal.reason as Error);
            else resolve([]);
          },
          (error) => {
            if (signal?.aborted === true) reject(signal.reason as Error);
            else if (ended.aborted) resolve([]);
            else reject(error as Error);
          },
        );
      };
      const look = (): void => {
        sentAt = performance.now();
        const first = reserveArguments(request, request.waitMs > 0 ? "w" : "n", "");
        // Whoever stops does not wait for a server that is silent.
        const stop = (): void => reject(signal?.reason as Error);
        signal?.addEventListener("abort", stop, { once: true });
        this.#connection.call(
          "reserve",
          first,
          (answer) => {
            signal?.removeEventListener("abort", stop);
            found(readReply(answer as ReserveAnswer));
          },
          (error) => {
            signal?.removeEventListener("abort", stop);
            reject(error as Error);
          },
        );
      };
      look();
    });
  }

  async extend(
    leases: readonly LeaseExtension[],
    leaseMs: number,
    options: CallOptions = {},
  ): Promise<readonly LeaseState[]> {
    this.#life.check(options.signal);
    if (leases.length === 0) return [];
    const args: (string | number)[] = [leaseMs, leases.length];
    for (const { taskId, queue, token, progress } of leases)
      args.push(taskId, queue, token, progress === undefined ? "-" : JSON.stringify(progress));
    const [deadline, states] = await this.#run<readonly [string, readonly number[]]>("extend", args);
    return states.map((state) =>
      state === 0 ? { state: "lost" } : { state: state === 2 ? "cancelling" : "held", deadline: Number(deadline) },
    );
  }

  async settle(settlements: readonly Settlement[], options: CallOptions = {}): Promise<readonly SettleState[]> {
    this.#life.check(options.signal);
    if (settlements.length === 0) return [];
    const states: SettleState[] = [];
    for (const run of byBytes(settlements, weightOfSettlement, "A settlement"))
      states.push(...readStates(await this.#write("settle", writeSettlements(run))));
    return states;
  }

  async settleAndReserve(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options: CallOptions = {},
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }> {
    this.#life.check(options.signal);
    // Where replicas are waited for, a settlement that they lack must not take leases along that nobody gets to know of.
    if (
      this.#connection.options.waitReplicas > 0 ||
      byBytes(settlements, weightOfSettlement, "A settlement").length > 1
    ) {
      const states = await this.settle(settlements, options);
      return { states, leases: await this.reserve({ ...request, waitMs: 0 }, options) };
    }
    const sentAt = performance.now();
    const args = writeSettlements(settlements);
    args.push(...reserveArguments(request, "n", ""));
    const [states, answer] = await this.#run<readonly [string, ReserveAnswer]>("settleAndReserve", args);
    return { states: readStates(states), leases: await this.#leases(readReply(answer), sentAt) };
  }

  async cancel(ids: readonly string[], options: CallOptions = {}): Promise<readonly QueueCancelState[]> {
    return this.#each(["unknown", "cancelled", "cancelling"] as const, "cancel", ids, options);
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredTask | undefined)[]> {
    this.#life.check(options.signal);
    const tasks: (StoredTask | undefined)[] = [];
    while (tasks.length < ids.length) {
      const asked = tasks.length === 0 ? ids : ids.slice(tasks.length);
      const [now, found] = await this.#run<readonly [string, readonly (Shown | 0)[]]>("get", asked);
      tasks.push(...(await this.#show(found, Number(now))));
    }
    return tasks;
  }

  #show<T extends Shown | 0>(
    found: readonly T[],
    now: number,
  ): Promise<readonly (StoredTask | (T extends 0 ? undefined : never))[]>;
  async #show(found: readonly (Shown | 0)[], now: number): Promise<readonly (StoredTask | undefined)[]> {
    const tasks = await this.#kinds.reading(() =>
      found.map((shown) => (shown === 0 ? undefined : readShown(shown, now, this.#kinds.read))),
    );
    for (const task of tasks) if (task !== undefined && isDamaged(task)) this.#damage.tell("task", task.id);
    return tasks;
  }

  async list(filter: TaskFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredTask>> {
    this.#life.check(options.signal);
    const key = listKey("t", filter);
    const { limit, after } = readSequencePage(key, page);
    const states = (filter.states ?? (Object.keys(stateLetters) as StoredTaskState[])).map(
      (state) => stateLetters[state],
    );
    const items: StoredTask[] = [];
    const numbers: string[] = [];
    let from = String(after);
    // One more than the page holds, so that its last one knows whether others follow.
    while (items.length <= limit) {
      const [now, found, next] = await this.#run<readonly [string, readonly Shown[], string]>("list", [
        from,
        limit + 1 - items.length,
        listBudget,
        filter.queue ?? "",
        filter.name ?? "",
        states.join(""),
      ]);
      items.push(...(await this.#show(found, Number(now))));
      numbers.push(...found.map((shown) => shown[1].slice(1, 13)));
      if (next === "") break;
      from = next;
    }
    if (items.length <= limit) return { items };
    const last = Number.parseInt(numbers[limit - 1] as string, 16);
    return { items: items.slice(0, limit), next: writeCursor(key, String(last)) };
  }

  async counts(queues?: readonly string[], options: CallOptions = {}): Promise<Readonly<Record<string, QueueCounts>>> {
    this.#life.check(options.signal);
    if (queues?.length === 0) return {};
    type Row = readonly [string, number, number, number, number, number, number, string];
    const rows = await this.#run<readonly Row[]>("counts", queues ?? []);
    const entries = rows.map(([queue, blocked, scheduled, ready, active, failed, unrecorded, settings]) => {
      const counts = { blocked, scheduled, ready, active, failed, unrecorded, paused: settings.startsWith("1") };
      const numbers = [blocked, scheduled, ready, active, failed, unrecorded];
      const used = counts.paused || numbers.some((n) => n > 0) || isConfigured(settings);
      return { queue, counts, used };
    });
    const shown = entries.filter(({ used }) => queues !== undefined || used);
    return Object.fromEntries(shown.map(({ queue, counts }) => [queue, counts]));
  }

  async configureQueue(queue: string, settings: QueueSettings, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    const write = (value: number | null | undefined): string =>
      value === undefined ? "" : value === null ? "-" : String(value);
    const { rateLimit } = settings;
    const rate =
      rateLimit === undefined
        ? ["", "", ""]
        : rateLimit === null
          ? ["-", "-", "-"]
          : [String(rateLimit.limit), String(rateLimit.windowMs), ""];
    await this.#run("configure", [queue, "", write(settings.maxActive), ...rate, write(settings.deadLetterTtlMs)]);
  }

  async pause(queue: string, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#run("configure", [queue, "1", "", "", "", "", ""]);
  }

  async resume(queue: string, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#run("configure", [queue, "0", "", "", "", "", ""]);
  }

  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    return this.#notices.onCancel(listener);
  }

  async retry(ids: readonly string[], options: RetryOptions = {}): Promise<readonly RetryState[]> {
    const given = (options.outcomes ?? []).flatMap((outcome) => [outcome.taskId, endingOf(outcome)]);
    const states = ["unknown", "retried", "busy", "conflict"] as const;
    return this.#each(states, "retry", ids, options, [ids.length, ...ids, ...given]);
  }

  async remove(ids: readonly string[], options: CallOptions = {}): Promise<readonly RemoveState[]> {
    return this.#each(["unknown", "removed", "busy", "freed"] as const, "remove", ids, options);
  }

  async purge(queue: string, states: readonly StoredTaskState[], options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    const letters = new Set<string>();
    for (const state of states) {
      if (state !== "blocked" && state !== "scheduled" && state !== "ready" && state !== "failed") {
        throw new OmniQError(
          "OMNIQ_INVALID_OPTION",
          `Tasks in the state "${state}" can't be purged; blocked, scheduled, ready and failed can`,
        );
      }
      letters.add(stateLetters[state]);
    }
    if (letters.size === 0) return 0;
    let removed = 0;
    let last = "";
    // In steps, so that a million tasks keep nobody waiting. What is enqueued after the first one stays.
    for (let after = "0", over = false; !over;) {
      const [gone, lastNumber, next, end] = await this.#run<readonly [number, string, string, number]>("purge", [
        queue,
        [...letters].join(""),
        last,
        after,
        purgeStepSize,
      ]);
      options.signal?.throwIfAborted();
      removed += gone;
      [last, after, over] = [lastNumber, next, end === 1];
    }
    return removed;
  }

  async unrecorded(limit: number, options: CallOptions = {}): Promise<readonly UnrecordedOutcome[]> {
    this.#life.check(options.signal);
    if (limit <= 0) return [];
    type Answer = readonly [found: readonly string[], damaged: readonly string[]];
    const [found, damaged] = await this.#run<Answer>("unrecorded", [limit]);
    const outcomes: UnrecordedOutcome[] = [];
    for (let index = 0; index + 1 < found.length; index += 2) {
      const outcome = readUnrecorded(found[index] as string, found[index + 1] as string);
      if (outcome !== undefined) outcomes.push(outcome);
    }
    // Those that scripts have set aside; each worker asks for outcomes now and then.
    for (const id of damaged) this.#damage.tell("task", id);
    return outcomes;
  }

  async record(
    outcomes: readonly { readonly taskId: string; readonly run: number }[],
    options: CallOptions = {},
  ): Promise<void> {
    this.#life.check(options.signal);
    if (outcomes.length === 0) return;
    await this.#write(
      "record",
      outcomes.flatMap(({ taskId, run }) => [taskId, run]),
    );
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    return this.#run<number>("sweep", [limit]);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #each<State extends string>(
    names: readonly State[],
    script: "cancel" | "retry" | "remove",
    ids: readonly string[],
    options: CallOptions,
    args: readonly (string | number)[] = ids,
  ): Promise<readonly State[]> {
    this.#life.check(options.signal);
    if (ids.length === 0) return [];
    const answers = await this.#write<readonly number[]>(script, args);
    return answers.map((answer) => names[answer] as State);
  }

  /** The leases of what can be read; a promise only where a kind must be learned or something set aside first. */
  #leases(reply: ReserveReply, sentAt: number): readonly Lease[] | Promise<readonly Lease[]> {
    let damaged: string[] = [];
    const read = (): readonly Lease[] => {
      damaged = [];
      return readLeases(reply, sentAt, this.#kinds.read, damaged);
    };
    const leases = this.#kinds.reading(read);
    if (!(leases instanceof Promise) && damaged.length === 0) return leases;
    return Promise.resolve(leases).then(async (readable) => {
      for (const id of damaged) this.#damage.tell("task", id);
      if (damaged.length > 0) await this.#run("setAside", damaged);
      return readable;
    });
  }

  async #giveBack(reply: ReserveReply): Promise<void> {
    const settlements = (await this.#leases(reply, 0)).map(({ taskId, queue, token, run, attempt }) => ({
      taskId,
      queue,
      token,
      run,
      attempt,
      outcome: "release" as const,
    }));
    if (settlements.length > 0) await this.#connection.run("settle", writeSettlements(settlements));
  }

  #run<T>(...call: Parameters<Connection["run"]>): Promise<T> {
    return this.#connection.run<T>(...call);
  }

  #write<T>(...call: Parameters<Connection["write"]>): Promise<T> {
    return this.#connection.write<T>(...call);
  }
}

const stateLetters: Readonly<Record<StoredTaskState, string>> = {
  blocked: "b",
  scheduled: "s",
  ready: "r",
  active: "a",
  failed: "f",
  cancelled: "c",
  expired: "e",
};

function isConfigured(settings: string): boolean {
  const [, active, limit, , , ttl] = settings.split(",");
  return [active, limit, ttl].some((value) => value !== undefined && value !== "-");
}

function reserveArguments(request: ReserveRequest, mode: "n" | "w" | "b", stopKey: string): (string | number)[] {
  const queues = [...new Set(request.queues)];
  return [
    `${mode}${request.maxBytes ?? ""}`,
    request.limit,
    request.leaseMs,
    newToken(),
    request.worker,
    stopKey,
    queues.length,
    ...queues,
  ];
}

function readStates(digits: string): SettleState[] {
  return Array.from(digits, (digit) => (digit === "0" ? "lost" : "settled"));
}

function readShown([id, record, lease, edges]: Shown, now: number, kindOf: KindOf): StoredTask {
  return readTask(id, record, now, lease === "" ? undefined : readLease(lease), edges, kindOf) ?? damagedTask(id);
}

/** Only what this adapter wrote of a damaged task has no name. */
function isDamaged({ name, state }: StoredTask): boolean {
  return name === "" && state === "failed";
}

function weightOfCall({ tasks, events = [] }: EnqueueCall): number {
  let weight = 0;
  for (const { payload, envelope } of tasks) weight += payload.length + envelope.length;
  for (const { data } of events) weight += data?.length ?? 0;
  return weight;
}

function weightOfSettlement(settlement: Settlement): number {
  const { value = "", error = "" } = settlement as { readonly value?: string; readonly error?: string };
  let weight = value.length + error.length;
  for (const { data } of settlement.events ?? []) weight += data?.length ?? 0;
  return weight;
}
