// Waiting for tasks: a connection of its own on which a blocking pop and a reserve are sent together, so that the server itself reserves on waking.
import { randomBytes } from "node:crypto";
import type { Connection, ScriptArguments } from "./connection.ts";
import { hasLeases, readReply, type ReserveAnswer, type ReserveReply } from "./leases.ts";
import type { Link } from "./link.ts";

/** More waits at a time than this look again now and then in place of a connection of their own. */
const maxConnections = 64;
const pollMs = 100;
/** How much longer than asked a blocked connection may be silent. */
const silenceMs = 5_000;

export interface Wait {
  readonly queues: readonly string[];
  readonly waitMs: number;
  /** When a look may find something that time alone makes ready, in ms from now. */
  readonly lookInMs: number | undefined;
  readonly signals: readonly (AbortSignal | undefined)[];
  /** The arguments of a reserve that stops when this key is there. */
  readonly request: (stopKey: string) => ScriptArguments;
  /** Leases that nobody waits for any more. */
  readonly abandoned: (reply: ReserveReply) => Promise<void>;
}

export class Waiting {
  readonly #connection: Connection;
  readonly #free: Link[] = [];
  #count = 0;
  readonly #ending = new Set<Promise<unknown>>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** One wait: tells what the reserve found on waking, or `undefined` when it was ended before. Called back, since a task starts only after each promise has had its turn. */
  wait(wait: Wait, done: (reply: ReserveReply | undefined) => void, fail: (error: unknown) => void): void {
    const signals = wait.signals.filter((signal) => signal !== undefined);
    if (signals.some((signal) => signal.aborted)) return done(undefined);
    if (this.#free.length === 0 && this.#count >= maxConnections) {
      this.#poll(wait, signals).then(done).catch(fail);
      return;
    }
    const link = this.#free.pop() ?? this.#connection.another();
    this.#count++;
    const wakeKey = this.#connection.key(`y:${randomBytes(9).toString("base64url")}`);
    let silence: NodeJS.Timeout | undefined;
    /** Set when the wait was ended: told when it has let go. */
    let ended: (() => void) | undefined;
    const leave = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", stop);
    };
    let answered = false;
    const over = (): void => {
      clearTimeout(silence);
      this.#release(link);
      leave();
    };
    const stop = (): void => {
      if (answered) return;
      leave();
      void this.#wake(wakeKey, true);
      const tracked = new Promise<void>((resolve) => (ended = resolve)).finally(() => this.#ending.delete(tracked));
      this.#ending.add(tracked);
      done(undefined);
    };
    for (const signal of signals) signal.addEventListener("abort", stop, { once: true });
    const timer =
      wait.lookInMs !== undefined && wait.lookInMs < wait.waitMs
        ? setTimeout(() => void this.#wake(wakeKey, false), Math.max(1, wait.lookInMs))
        : undefined;
    const keys = [...new Set(wait.queues)].map((queue) => this.#connection.key(`w:${queue}`));
    const seconds = Math.max(0.01, wait.waitMs / 1_000);
    // A network that swallows everything never says so.
    const sent = (): void => {
      // In a cluster it may be sent again. It may have failed already, as it was sent: then the link is no longer this wait's.
      clearTimeout(silence);
      if (!answered) silence = setTimeout(() => link.reset(), wait.waitMs + silenceMs);
    };
    const woken = (answer: unknown): void => {
      const reply = readReply(answer as ReserveAnswer);
      answered = true;
      if (ended === undefined && hasLeases(reply)) {
        try {
          return done(reply);
        } finally {
          // Cleared up when the tasks have begun, behind the promise where they come by one: it takes as long as all else between the
          // socket and their handlers.
          queueMicrotask(over);
        }
      }
      over();
      if (ended === undefined) return done(reply);
      const given = hasLeases(reply) ? wait.abandoned(reply) : Promise.resolve();
      given.then(ended, ended);
    };
    const broken = (error: unknown): void => {
      // What came is no answer of ours, but it came.
      if (!answered) over();
      answered = true;
      if (ended === undefined) fail(error);
      else ended();
    };
    const pop = { args: [...keys, wakeKey, seconds], sent };
    this.#connection.script(link, "reserve", wait.request(wakeKey), { done: woken, fail: broken }, pop);
  }

  /** Resolves when waits that were ended have let go, or after a moment. */
  async idle(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([Promise.all(this.#ending), new Promise((done) => (timer = setTimeout(done, 500)))]);
    clearTimeout(timer);
    this.#free.length = 0;
    this.#count = 0;
  }

  async #wake(wakeKey: string, stop: boolean): Promise<void> {
    try {
      await this.#connection
        .main()
        .send((client) => this.#connection.evaluate(client, "wake", [wakeKey], [stop ? 1 : 0]));
    } catch {
      // The wait ends by its own time.
    }
  }

  #release(link: Link): void {
    this.#count--;
    if (this.#free.length < 8) this.#free.push(link);
    else this.#connection.drop(link);
  }

  async #poll(wait: Wait, signals: readonly AbortSignal[]): Promise<ReserveReply | undefined> {
    const until = performance.now() + wait.waitMs;
    while (!signals.some((signal) => signal.aborted)) {
      const reply = readReply(await this.#connection.run<ReserveAnswer>("reserve", wait.request("")));
      if (hasLeases(reply) || performance.now() >= until) return reply;
      await new Promise((done) => setTimeout(done, Math.min(pollMs, Math.max(1, until - performance.now()))));
    }
    return undefined;
  }
}
