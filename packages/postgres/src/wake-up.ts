// Wake-ups: who waits in this process is told at once, others by NOTIFY after the commit, with polling behind it.
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { isOmniQError } from "@omniq/core";
import { cut } from "./hosts.ts";
import { notifyText, readList, type Connection, type Row } from "./connection.ts";
import { decodeNotice, encodeNotice, type Change, type Names } from "./notice.ts";
import { within } from "./within.ts";

/** How often what waits looks again, with and without a connection that listens. */
const pollMs = { listening: 5_000, alone: 200 };
/** Between two notifications of one process; the first is sent at once. */
const notifyGapMs = 4;
/** How often active tasks to be cancelled are asked for while no connection listens. */
const cancelPollMs = 1_000;
/** How long closing waits for a notification that is under way, and for the connection's end. */
const closeMs = 200;
const reconnectMs = { first: 100, most: 5_000 };
export type WaitKind = "tasks" | "events" | "results";

interface Waiter {
  readonly kind: WaitKind;
  /** Queues or ids of tasks; `undefined` is woken by all of its kind. */
  readonly names: ReadonlySet<string> | undefined;
  readonly wake: () => void;
}

export class WakeUp {
  readonly #connection: Connection;
  readonly #sender: string = randomBytes(9).toString("base64url");
  readonly #waiters = new Set<Waiter>();
  readonly #cancelListeners = new Set<(taskIds: readonly string[]) => void>();
  #tasks = new Set<string>();
  #results = new Set<string>();
  #cancels = new Set<string>();
  #events = false;
  /** When the last notification was sent. */
  #toldAt = -Infinity;
  #notifying: Promise<void> | undefined;
  #client: pg.Client | undefined;
  #listening = false;
  /** A statement runs on the connection that listens. */
  #asking = false;
  #connecting = false;
  #again: NodeJS.Timeout | undefined;
  #cancelPoll: NodeJS.Timeout | undefined;
  #delayMs = reconnectMs.first;
  #closed = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Before a commit: the channel and text of a notification that the statement may take with it, so that others hear of it a round trip
   * sooner. `undefined` where there was one a moment ago, or nobody can listen; then it goes after the commit, with others.
   */
  notice({ tasks = [], results = [], events = false }: Change): readonly [channel: string, text: string] | undefined {
    const { channel, options } = this.#connection;
    const now = performance.now();
    if (!options.listen || this.#notifying !== undefined || now - this.#toldAt < notifyGapMs) return undefined;
    this.#toldAt = now;
    return [channel, encodeNotice(this.#sender, { tasks, results, events })];
  }

  /** After a commit of this process. `told`: its notification went with it. */
  committed({ tasks = [], results = [], cancels = [], events = false }: Change, told = false): void {
    const queues = new Set(tasks);
    const ids = new Set(results);
    const cancelled = new Set(cancels);
    if (queues.size === 0 && ids.size === 0 && cancelled.size === 0 && !events) return;
    if (this.#waiters.size > 0) this.#wake(queues, ids, events);
    if (cancelled.size > 0) this.#tellCancels([...cancelled]);
    if (told || !this.#connection.options.listen) return;
    for (const queue of queues) this.#tasks.add(queue);
    for (const id of ids) this.#results.add(id);
    for (const id of cancelled) this.#cancels.add(id);
    if (events) this.#events = true;
    this.#notifying ??= this.#notify();
  }

  /** Tells of active tasks whose cancel was asked for, by whomever. Keeps no process alive. */
  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    const own = (taskIds: readonly string[]): void => listener(taskIds);
    if (this.#closed) return () => {};
    this.#cancelListeners.add(own);
    this.#connect();
    this.#pollCancels();
    return () => {
      this.#cancelListeners.delete(own);
      this.#settleDown();
    };
  }

  /** Another connection was found to be dead, so this one may be, too. */
  doubt(): void {
    if (this.#client !== undefined) this.#lost(this.#client);
  }

  /**
   * Runs a statement on the connection that listens, if it has nothing else to do: after a notification that one is awake already, here and
   * in the server, where each connection is a process. Else on one of the pool.
   */
  async query(text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    const client = this.#client;
    if (!this.#listening || client === undefined || this.#asking)
      return this.#connection.query(text, values, { harmless: true });
    this.#asking = true;
    try {
      return await this.#connection.query(text, values, { client, harmless: true });
    } catch (error) {
      // One that does not answer may hear nothing either.
      if (isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE")) this.#lost(client);
      throw error;
    } finally {
      this.#asking = false;
    }
  }

  /**
   * Starts to listen. Call it before looking whether there is something, so that nothing falls in between. `wait` resolves at the
   * first wake since the last, after `waitMs`, when a signal aborts, or when it is time to look again all the same.
   */
  listen(
    kind: WaitKind,
    names: Iterable<string> | undefined,
    signals: readonly (AbortSignal | undefined)[],
  ): { readonly wait: (waitMs: number) => Promise<void>; readonly stop: () => void } {
    let woken = false;
    let resolve: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    const wake = (): void => {
      woken = true;
      resolve?.();
    };
    const waiter: Waiter = { kind, names: names === undefined ? undefined : new Set(names), wake };
    this.#waiters.add(waiter);
    const heard = signals.filter((signal) => signal !== undefined);
    for (const signal of heard) {
      if (signal.aborted) woken = true;
      signal.addEventListener("abort", wake, { once: true });
    }
    if (!this.#closed) this.#connect();
    if (this.#waiters.size === 1) this.#keepAlive(true);
    return {
      wait: async (waitMs) => {
        if (!woken) {
          const poll = (this.#listening ? pollMs.listening : pollMs.alone) * (0.75 + Math.random() * 0.5);
          timer = setTimeout(wake, Math.max(0, Math.min(waitMs, poll)));
          await new Promise<void>((done) => (resolve = done));
          clearTimeout(timer);
        }
        woken = false;
      },
      stop: () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        this.#settleDown();
        for (const signal of heard) signal.removeEventListener("abort", wake);
      },
    };
  }

  /** Sends what is still to be said, and lets go of the connection that listens; it is made again when needed. */
  async release(forEver: boolean): Promise<void> {
    if (forEver) this.#closed = true;
    for (const waiter of this.#waiters) waiter.wake();
    await within(this.#notifying, closeMs);
    if (forEver) this.#cancelListeners.clear();
    clearTimeout(this.#again);
    this.#again = undefined;
    clearInterval(this.#cancelPoll);
    this.#cancelPoll = undefined;
    await this.#drop();
  }

  /** Whether the connection that listens keeps the process alive. The types of `pg` do not know that it can. */
  #keepAlive(wanted: boolean): void {
    const client = this.#client as { ref?: () => void; unref?: () => void } | undefined;
    if (wanted) client?.ref?.();
    else client?.unref?.();
  }

  /** Nobody waits: the connection stays, and keeps no process alive. */
  #settleDown(): void {
    if (this.#waiters.size === 0) this.#keepAlive(false);
    if (this.#cancelListeners.size > 0) return;
    clearInterval(this.#cancelPoll);
    this.#cancelPoll = undefined;
  }

  #tellCancels(taskIds: readonly string[]): void {
    for (const listener of this.#cancelListeners) {
      try {
        listener(taskIds);
      } catch {
        // What a listener does with it is its own affair.
      }
    }
  }

  /** Asks for them now and then while no connection listens. */
  #pollCancels(): void {
    if (this.#cancelPoll !== undefined) return;
    this.#cancelPoll = setInterval(() => {
      if (!this.#listening) void this.#askCancels();
    }, cancelPollMs);
    this.#cancelPoll.unref();
  }

  async #askCancels(): Promise<void> {
    if (this.#cancelListeners.size === 0 || this.#closed) return;
    const text = "SELECT to_json(ARRAY(SELECT id FROM {s}.tasks WHERE cancelling AND state = 4 LIMIT 10000))::text";
    const [row] = await this.#connection.look(text).catch((): readonly Row[] => []);
    const ids = readList(row?.[0]);
    if (ids.length > 0) this.#tellCancels(ids);
  }

  #wake(queues: Names, ids: Names, events: boolean): void {
    for (const { kind, names, wake } of this.#waiters) {
      if (kind === "events") {
        if (events) wake();
        continue;
      }
      const changed = kind === "tasks" ? queues : ids;
      if (changed === true || (names === undefined && changed.size > 0)) wake();
      else if (names !== undefined && meet(names, changed)) wake();
    }
  }

  /** One notification at a time; what is committed meanwhile goes with the next. Lost ones are made up for by polling. */
  async #notify(): Promise<void> {
    // The loop's turn ends here, so that all that was committed in it goes along.
    const gap = notifyGapMs - (performance.now() - this.#toldAt);
    await new Promise<void>((done) => (gap > 0 ? setTimeout(done, gap) : setImmediate(done)));
    while (this.#tasks.size > 0 || this.#results.size > 0 || this.#cancels.size > 0 || this.#events) {
      const change = { tasks: this.#tasks, results: this.#results, cancels: this.#cancels, events: this.#events };
      const text = encodeNotice(this.#sender, change);
      this.#tasks = new Set();
      this.#results = new Set();
      this.#cancels = new Set();
      this.#events = false;
      this.#toldAt = performance.now();
      await this.#connection.query(notifyText, [this.#connection.channel, text], { harmless: true }).catch(() => {});
      await new Promise<void>((done) => setTimeout(done, notifyGapMs));
    }
    this.#notifying = undefined;
  }

  #connect(): void {
    if (this.#client !== undefined || this.#connecting || this.#again !== undefined) return;
    const client = this.#connection.listener();
    if (client === undefined) return;
    this.#connecting = true;
    this.#client = client;
    client.on("error", () => this.#lost(client));
    client.on("end", () => this.#lost(client));
    client.on("notification", ({ payload }) => this.#heard(payload ?? ""));
    const start = async (): Promise<void> => {
      await client.connect();
      this.#keepAlive(this.#waiters.size > 0);
      await this.#connection.verify(client);
      await client.query(`LISTEN ${this.#connection.channel}`);
      if (this.#client !== client) return;
      this.#connecting = false;
      this.#listening = true;
      this.#delayMs = reconnectMs.first;
      // What was said before nobody heard.
      this.#wake(true, true, true);
      void this.#askCancels();
    };
    start().catch(() => this.#lost(client));
  }

  /** Lets go of a connection that broke, and makes another in a while if somebody waits. */
  #lost(client: pg.Client): void {
    if (this.#client !== client) return;
    void this.#drop();
    if (this.#closed) return;
    this.#again = setTimeout(
      () => {
        this.#again = undefined;
        if (this.#waiters.size > 0 || this.#cancelListeners.size > 0) this.#connect();
      },
      this.#delayMs * (0.5 + Math.random()),
    );
    this.#again.unref();
    this.#delayMs = Math.min(this.#delayMs * 2, reconnectMs.most);
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#listening = false;
    this.#connecting = false;
    if (client === undefined) return;
    // A broken one may never say that it has ended.
    await within(client.end(), closeMs);
    cut(client);
  }

  #heard(payload: string): void {
    const heard = decodeNotice(payload);
    if (heard === undefined || heard.from === this.#sender) return;
    this.#wake(heard.tasks, heard.results, heard.events);
    if (heard.cancels === true) void this.#askCancels();
    else if (heard.cancels.size > 0) this.#tellCancels([...heard.cancels]);
  }
}

function meet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  const [small, large] = one.size < other.size ? [one, other] : [other, one];
  for (const name of small) if (large.has(name)) return true;
  return false;
}
