// The task queue on PostgreSQL: each verb is one function of the schema; here they meet waiting, wake-ups and transactions.
import {
  type CallOptions,
  type DependencyOutcome,
  type EnqueueAnswer,
  type EnqueueCall,
  type EnqueueOptions,
  type Lease,
  type LeaseExtension,
  type LeaseState,
  type Page,
  type PageRequest,
  type QueueCancelState,
  type QueueCounts,
  type QueueSettings,
  type RemoveState,
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
import { Columns } from "./columns.ts";
import { notifyText, readList, type Connection, type Row } from "./connection.ts";
import { cutBatches, enqueueStatement, readAnswer, type EnqueueBatch } from "./enqueue.ts";
import { failure } from "./failures.ts";
import { checkPurgeable, countTasks, getTasks, listTasks } from "./inspect.ts";
import { Claims, type Claim, type ClaimAnswer } from "./reserve.ts";
import { encodeNotice, type Change } from "./notice.ts";
import { cutSettlements, extendCall, readSettled, settleCall } from "./settle.ts";
import { Lifetime, type Store } from "./store.ts";
import { checkTransaction } from "./transactions.ts";

const purgeStepSize = 1_000;
/** An aborted reserve waits so long for a claim that is under way; what comes later is given back when it comes. */
const abortGraceMs = 250;
const reserveFew = "SELECT * FROM {s}.reserve_few($1, $2, $3, $4, $5, $6, $7, $8)";

export class PostgresTaskQueue implements TaskQueue {
  readonly component = "task-queue" as const;
  readonly backend: object;
  readonly capabilities: TaskQueueCapabilities;
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #life: Lifetime;
  readonly #claims = new Claims();

  constructor(backend: object, store: Store, capabilities: TaskQueueCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#connection = store.connection;
    this.#life = new Lifetime("task queue", onClose);
  }

  async enqueue(calls: readonly EnqueueCall[], options: EnqueueOptions = {}): Promise<readonly EnqueueAnswer[]> {
    return this.#life.run(options.signal, async () => {
      const { transaction } = options;
      const batches = cutBatches(calls, transaction !== undefined);
      const queues = new Set(calls.flatMap((call) => call.tasks.map((task) => task.queue)));
      const events = calls.some((call) => call.events !== undefined && call.events.length > 0);
      const change = { tasks: queues, events };
      const answers: EnqueueAnswer[] = [];
      if (transaction !== undefined) {
        await this.#inTransaction(transaction, batches, change, answers);
        return answers;
      }
      const notice = this.#store.wakeUp.notice(change);
      for (const batch of batches) {
        const told = batch === batches.at(-1) ? notice : undefined;
        const { text, values } = enqueueStatement(batch, told);
        const [row] = await this.#connection.query(text, values, { committed: told !== undefined });
        readAnswer(batch, row?.[0] as string | null, answers);
      }
      this.#store.wakeUp.committed(change, notice !== undefined);
      return answers;
    });
  }

  /** The same in a transaction of the user's; others are told by its commit, and never if there is none. */
  async #inTransaction(
    transaction: unknown,
    batches: readonly EnqueueBatch[],
    change: Change,
    answers: EnqueueAnswer[],
  ): Promise<void> {
    await this.#connection.ready();
    try {
      const client = await checkTransaction(transaction, (text) => this.#connection.textOf(text));
      for (const batch of batches) {
        const { text, values } = enqueueStatement(batch);
        const { rows } = await client.query(this.#connection.textOf(text), values);
        readAnswer(batch, (rows[0] as { answer?: string | null } | undefined)?.answer ?? null, answers);
      }
      if (!this.#store.options.listen) return;
      const values = [this.#connection.channel, encodeNotice("", change)];
      await client.query(this.#connection.textOf(notifyText), values);
    } catch (error) {
      throw failure(error, "PostgreSQL, in the given transaction,", this.#store.options.schema, false);
    }
  }

  async reserve(request: ReserveRequest, options: CallOptions = {}): Promise<readonly Lease[]> {
    const { signal } = options;
    return this.#life.run(signal, () => this.#reserve(request, signal), abortGraceMs);
  }

  async #reserve(request: ReserveRequest, signal: AbortSignal | undefined): Promise<readonly Lease[]> {
    const ended = this.#life.signal;
    signal?.throwIfAborted();
    const until = performance.now() + request.waitMs;
    // Listening begins before looking, so that what happens in between is not missed.
    const listening =
      request.waitMs > 0 ? this.#store.wakeUp.listen("tasks", request.queues, [signal, ended]) : undefined;
    try {
      for (let woken = false; ; woken = true) {
        const { leases, nextInMs } = await (woken ? this.#claimFew(request) : this.#claim(request));
        if (leases.length > 0 && (signal?.aborted === true || ended.aborted)) await this.#giveBack(leases);
        signal?.throwIfAborted();
        if (ended.aborted) return [];
        const left = until - performance.now();
        if (leases.length > 0 || listening === undefined || left <= 0) return leases;
        await listening.wait(Math.min(left, Math.max(nextInMs ?? Infinity, 1)));
        signal?.throwIfAborted();
        if (ended.aborted || until <= performance.now()) return [];
      }
    } finally {
      listening?.stop();
    }
  }

  async #claim(request: ReserveRequest): Promise<ClaimAnswer> {
    const claim = this.#claims.begin(request);
    const { list, values } = claim.columns.build();
    const sentAt = performance.now();
    const rows = await this.#connection.query(`SELECT * FROM {s}.reserve(${list})`, values, { harmless: true });
    return this.#read(claim, rows, sentAt);
  }

  async #claimFew(request: ReserveRequest): Promise<ClaimAnswer> {
    const claim = this.#claims.beginFew(request);
    if (claim === undefined) return this.#claim(request);
    const sentAt = performance.now();
    const rows = await this.#store.wakeUp.query(reserveFew, claim.values);
    return this.#read(claim, rows, sentAt);
  }

  #read(claim: Claim, rows: readonly Row[], sentAt: number): ClaimAnswer {
    const answer = this.#claims.read(claim, rows, sentAt);
    if (answer.aside.length > 0) this.#connection.setAside(answer.aside, answer.wake);
    if (answer.damaged.length > 0) void this.#setAside(answer.damaged);
    return answer;
  }

  /** If this fails their leases run out, and the next claim does it. */
  async #setAside(ids: readonly string[]): Promise<void> {
    const { list, values } = new Columns().text(ids).build();
    const text = `SELECT to_json(gone)::text, to_json(wake)::text FROM {s}.set_aside(${list})`;
    const [row] = await this.#connection.query(text, values, { harmless: true }).catch((): readonly Row[] => []);
    this.#connection.setAside(readList(row?.[0]), readList(row?.[1]));
  }

  /** Nobody waits for them any more. If this fails they come back when they run out. */
  async #giveBack(leases: readonly Lease[]): Promise<void> {
    const released = leases.map(({ taskId, queue, token, run, attempt }) => ({
      taskId,
      queue,
      token,
      run,
      attempt,
      outcome: "release" as const,
    }));
    await this.#settle(released).catch(() => {});
  }

  async extend(
    leases: readonly LeaseExtension[],
    leaseMs: number,
    options: CallOptions = {},
  ): Promise<readonly LeaseState[]> {
    return this.#life.run(options.signal, async () => {
      const { text, values, order } = extendCall(leases, leaseMs);
      const rows = await this.#connection.query(text, values);
      const states = new Map<LeaseExtension, LeaseState>();
      for (const [n, cancelled, deadline] of rows) {
        const lease = order[(n as number) - 1];
        if (lease !== undefined) states.set(lease, { state: cancelled === true ? "cancelling" : "held", deadline });
      }
      return leases.map((lease) => states.get(lease) ?? { state: "lost" });
    });
  }

  async settle(settlements: readonly Settlement[], options: CallOptions = {}): Promise<readonly SettleState[]> {
    return this.#life.run(options.signal, () => this.#settle(settlements));
  }

  async #settle(settlements: readonly Settlement[]): Promise<readonly SettleState[]> {
    const parts = cutSettlements(settlements);
    if (parts.length === 1) return this.#settlePart(settlements);
    const states: SettleState[] = [];
    for (const part of parts) states.push(...(await this.#settlePart(part)));
    return states;
  }

  async #settlePart(settlements: readonly Settlement[]): Promise<readonly SettleState[]> {
    const call = settleCall(settlements);
    const [row] = await this.#connection.query(`SELECT * FROM ${call.call}`, call.values);
    const { states, wake } = readSettled(row ?? [], call, settlements);
    this.#claims.settled(settlements);
    this.#store.wakeUp.committed({ tasks: wake, results: call.results, events: call.events });
    return states;
  }

  async settleAndReserve(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options: CallOptions = {},
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }> {
    return this.#life.run(options.signal, async () => {
      const parts = cutSettlements(settlements);
      const before: SettleState[] = [];
      for (const part of parts.slice(0, -1)) before.push(...(await this.#settlePart(part)));
      const last = parts.at(-1) ?? [];
      const call = settleCall(last);
      const claim = this.#claims.begin(request);
      const second = claim.columns.build(call.values.length + 1);
      const sentAt = performance.now();
      // One after the other, in one statement: what is let go by the first may be claimed by the second.
      const rows = await this.#connection.query(
        `SELECT * FROM ${call.call} UNION ALL SELECT * FROM {s}.reserve(${second.list})`,
        [...call.values, ...second.values],
      );
      const { states, wake } = readSettled(rows.find((row) => row[0] === -2) ?? [], call, last);
      this.#claims.settled(last);
      const { leases } = this.#read(
        claim,
        rows.filter((row) => row[0] !== -2),
        sentAt,
      );
      this.#store.wakeUp.committed({ tasks: wake, results: call.results, events: call.events });
      if (this.#life.signal.aborted && leases.length > 0) await this.#giveBack(leases);
      return { states: [...before, ...states], leases: this.#life.signal.aborted ? [] : leases };
    });
  }

  /** A function that answers with states and the queues to wake, both as JSON. */
  async #change<State>(call: string, values: unknown[]): Promise<readonly State[]> {
    const [row] = await this.#connection.query(
      `SELECT to_json(states)::text, to_json(wake)::text FROM {s}.${call}`,
      values,
    );
    this.#store.wakeUp.committed({ tasks: readList(row?.[1]) });
    return readList(row?.[0]) as unknown as readonly State[];
  }

  async cancel(ids: readonly string[], options: CallOptions = {}): Promise<readonly QueueCancelState[]> {
    if (ids.length === 0) return [];
    const { list, values } = new Columns().text(ids).build();
    return this.#life.run(options.signal, async () => {
      const states = await this.#change<QueueCancelState>(`cancel(${list})`, values);
      this.#store.wakeUp.committed({ cancels: ids.filter((_id, index) => states[index] === "cancelling") });
      return states;
    });
  }

  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    if (this.#life.signal.aborted) return () => {};
    const stop = this.#store.wakeUp.onCancel((ids) => {
      if (!this.#life.signal.aborted) listener(ids);
    });
    this.#life.signal.addEventListener("abort", stop, { once: true });
    return () => {
      this.#life.signal.removeEventListener("abort", stop);
      stop();
    };
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredTask | undefined)[]> {
    return this.#life.run(options.signal, () => getTasks(this.#connection, ids));
  }

  async list(filter: TaskFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredTask>> {
    return this.#life.run(options.signal, () => listTasks(this.#connection, filter, page));
  }

  async counts(queues?: readonly string[], options: CallOptions = {}): Promise<Readonly<Record<string, QueueCounts>>> {
    return this.#life.run(options.signal, () => countTasks(this.#connection, queues));
  }

  async configureQueue(queue: string, settings: QueueSettings, options: CallOptions = {}): Promise<void> {
    const { maxActive, rateLimit, deadLetterTtlMs } = settings;
    return this.#life.run(options.signal, async () => {
      await this.#connection.query("SELECT {s}.configure($1, $2, $3, $4, $5, $6, $7, $8)", [
        queue,
        maxActive !== undefined,
        maxActive ?? null,
        rateLimit !== undefined,
        rateLimit?.limit ?? null,
        rateLimit?.windowMs ?? null,
        deadLetterTtlMs !== undefined,
        deadLetterTtlMs ?? null,
      ]);
      this.#store.wakeUp.committed({ tasks: [queue] });
    });
  }

  async pause(queue: string, options: CallOptions = {}): Promise<void> {
    return this.#life.run(options.signal, async () => {
      await this.#connection.query("SELECT {s}.set_paused($1, true)", [queue]);
    });
  }

  async resume(queue: string, options: CallOptions = {}): Promise<void> {
    return this.#life.run(options.signal, async () => {
      await this.#connection.query("SELECT {s}.set_paused($1, false)", [queue]);
      this.#store.wakeUp.committed({ tasks: [queue] });
    });
  }

  async retry(ids: readonly string[], options: RetryOptions = {}): Promise<readonly RetryState[]> {
    if (ids.length === 0) return [];
    const outcomes = options.outcomes ?? [];
    const numbers = (pick: (outcome: DependencyOutcome) => number): number[] => outcomes.map(pick);
    const columns = new Columns().text(ids).text(outcomes.map((outcome) => outcome.taskId));
    columns.of(
      "bigint",
      numbers((outcome) => outcome.run),
    );
    columns.of(
      "bigint",
      numbers((outcome) => outcome.attempt),
    );
    columns.text(outcomes.map((outcome) => outcome.status));
    columns.of(
      "bigint",
      numbers((outcome) => Math.floor(outcome.finishedAt)),
    );
    columns.text(outcomes.map((outcome) => outcome.value)).text(outcomes.map((outcome) => outcome.error));
    const { list, values } = columns.build();
    return this.#life.run(options.signal, () => this.#change<RetryState>(`retry(${list})`, values));
  }

  async remove(ids: readonly string[], options: CallOptions = {}): Promise<readonly RemoveState[]> {
    if (ids.length === 0) return [];
    const { list, values } = new Columns().text(ids).build();
    return this.#life.run(options.signal, () => this.#change<RemoveState>(`remove(${list})`, values));
  }

  async purge(queue: string, states: readonly StoredTaskState[], options: CallOptions = {}): Promise<number> {
    checkPurgeable(states);
    return this.#life.run(options.signal, async () => {
      // In steps, so that a million tasks keep no lock for long.
      const [last] = await this.#connection.look("SELECT coalesce(max(seq), 0) FROM {s}.tasks");
      let removed = 0;
      for (let after: number | null = 0; after !== null;) {
        options.signal?.throwIfAborted();
        const { list, values } = new Columns()
          .value(queue, "text")
          .text(states)
          .value(after, "bigint")
          .value(last?.[0] as number, "bigint")
          .value(purgeStepSize, "integer")
          .build();
        const text = `SELECT removed, next_after, to_json(wake)::text FROM {s}.purge(${list})`;
        const row = (await this.#connection.query(text, values))[0] as [number, number | null, string | null];
        removed += row[0];
        after = row[1];
        this.#store.wakeUp.committed({ tasks: readList(row[2]) });
      }
      return removed;
    });
  }

  async unrecorded(limit: number, options: CallOptions = {}): Promise<readonly UnrecordedOutcome[]> {
    return this.#life.run(options.signal, async () => {
      const rows = await this.#connection.query(
        `SELECT id, run, attempt, name, queue, state, error, finished_at, result_ttl FROM {s}.tasks WHERE unrecorded AND state BETWEEN 5 AND 7
         ORDER BY finished_at, seq LIMIT $1`,
        [limit],
        { harmless: true },
      );
      return rows.map((row) => ({
        taskId: row[0],
        run: row[1],
        attempt: row[2],
        name: row[3],
        queue: row[4],
        status: row[5] === 5 ? "failed" : row[5] === 6 ? "cancelled" : "expired",
        ...(row[6] === null ? {} : { error: row[6] as string }),
        finishedAt: row[7],
        resultTtlMs: row[8],
      }));
    });
  }

  async record(
    outcomes: readonly { readonly taskId: string; readonly run: number }[],
    options: CallOptions = {},
  ): Promise<void> {
    const { list, values } = new Columns()
      .text(outcomes.map((outcome) => outcome.taskId))
      .of(
        "bigint",
        outcomes.map((outcome) => outcome.run),
      )
      .build();
    return this.#life.run(options.signal, async () => {
      const [row] = await this.#connection.query(`SELECT to_json({s}.record(${list}))::text`, values);
      this.#store.wakeUp.committed({ tasks: readList(row?.[0]) });
    });
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    return this.#life.run(options.signal, async () => {
      const text = "SELECT changed, to_json(wake)::text, to_json(damaged)::text FROM {s}.sweep($1)";
      const [row] = await this.#connection.query(text, [limit], { harmless: true });
      this.#connection.setAside(readList(row?.[2]), []);
      this.#store.wakeUp.committed({ tasks: readList(row?.[1]) });
      return row?.[0] as number;
    });
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
