// One client and what is under way on it: calls wait for a connection for a while, and fail as soon as it breaks.
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis, type Cluster } from "ioredis";
import { OmniQError } from "@omniq/core";
import { DirectCommand, isUntraced, send, type Direct } from "./direct-command.ts";
import { failure, messageOf, Unanswered } from "./failures.ts";

/** How long a call waits for a connection before it rejects. */
const patienceMs = 5_000;
/** How often a connection on which calls are under way is looked at. */
const lookMs = 1_000;

/** The verbs that are used of a client; `Redis` and `Cluster` have them all. */
export type Client = Redis | Cluster;

/** A `Redis` has a socket of its own; a `Cluster` has none. */
interface Streaming {
  readonly stream?: Pick<Socket, "bytesRead" | "destroy" | "on" | "off"> | null;
}

/**
 * Lets a socket give what it reads at once. ioredis prepends its listener, which Node's streams (those of 20.20 at least) do not take for one: each
 * answer would be put into a buffer and come out of it a turn later, which costs as much as reading it.
 */
function listenAtOnce({ stream }: Streaming): void {
  const nothing = (): void => {};
  stream?.on("data", nothing).off("data", nothing);
}

/** Connections of this process so far. */
let connections = 0;

/** A call that is under way. */
interface Breakable {
  reject(error: unknown): void;
}

export class Link {
  readonly client: Client;
  readonly #what: string;
  /** A user's client has a queue and retries of its own, and is never closed. */
  readonly #own: boolean;
  readonly #direct: boolean;
  readonly #underWay = new Set<Breakable>();
  readonly #waiting = new Set<() => void>();
  readonly #onReady: (() => void)[] = [];
  /** A connection on which calls are under way and that is silent for this long is dead; 0: nobody looks. */
  readonly #silenceMs: number;
  #number = ++connections;
  #looking: NodeJS.Timeout | undefined;
  #answers = 0;
  #heard = "";
  #silentLooks = 0;
  #lastError: unknown;
  #closed = false;
  readonly #over = (call: Breakable): void => {
    this.#answers++;
    this.#underWay.delete(call);
  };

  constructor(client: Client, what: string, own: boolean, silenceMs = 0) {
    this.client = client;
    this.#silenceMs = silenceMs;
    this.#what = what;
    this.#own = own;
    // A user's client may be of another version, and a cluster's asks more of a command.
    this.#direct = own && client instanceof Redis;
    const listen = client as { on(event: string, listener: (...args: unknown[]) => void): unknown };
    // Without a listener ioredis prints each error; calls report it themselves.
    if (own) listen.on("error", (error) => (this.#lastError = error));
    if (!own) return;
    listen.on("ready", () => {
      listenAtOnce(client as Streaming);
      for (const go of this.#waiting) go();
      for (const listener of this.#onReady) listener();
    });
    // ioredis drops what was sent and not answered when it does not send it again, without a word.
    listen.on("close", () => {
      this.#number = ++connections;
      this.#fail(new Unanswered("Connection is closed."));
    });
    listen.on("end", () => this.#fail(new Unanswered("Connection is closed.")));
  }

  /** Another one each time that the connection broke; no other link of this process ever has it. */
  get number(): number {
    return this.#number;
  }

  /** Each time that the connection is there (again). */
  onReady(listener: () => void): void {
    this.#onReady.push(listener);
  }

  /**
   * Sends when there is a connection. What was sent and not answered when it broke rejects: it may have taken effect. `again` may send
   * in another way what the server refused. `writes`: an unanswered call may have taken effect.
   */
  send<T>(
    call: (client: Client) => Promise<T>,
    again?: (error: unknown) => Promise<T> | undefined,
    writes: boolean = false,
    until: number = performance.now() + patienceMs,
  ): Promise<T> {
    if (this.#closed) return Promise.reject(this.closedError());
    if (this.#own && this.client.status !== "ready")
      return this.#ready().then(() => this.send(call, again, writes, until));
    return new Promise<T>((resolve, fail) => {
      const reject = (error: unknown): void => {
        this.#underWay.delete(waiting);
        // Keys on their way to another node: nothing was done.
        if (isMoving(error) && performance.now() < until) {
          void later(() => this.send(call, again, writes, until), answered, fail);
        } else fail(this.failure(error, writes));
      };
      const answered = (answer: T): void => {
        this.#answers++;
        this.#underWay.delete(waiting);
        resolve(answer);
      };
      const waiting = { reject };
      this.#begin(waiting);
      const answer = call(this.client);
      if (again === undefined) answer.then(answered, reject);
      else
        answer.then(answered, (error: unknown) => {
          const second = again(error);
          if (second === undefined) reject(error);
          else second.then(answered, reject);
        });
    });
  }

  /** Sends a {@link DirectCommand}; `false` where the client, or its state, wants `send`. `told.fail` gets what ioredis says, see {@link failure}. */
  direct(direct: Direct): boolean {
    if (!this.#direct || this.#closed || this.client.status !== "ready" || !isUntraced()) return false;
    const command = new DirectCommand(direct, this.#over);
    this.#begin(command);
    send(this.client as Redis, command, direct);
    return true;
  }

  /** The error that callers see. */
  failure(error: unknown, writes: boolean): OmniQError {
    return this.#closed ? this.closedError() : failure(error, this.#what, writes);
  }

  /** Breaks the connection; it is made again. What is under way rejects. */
  reset(): void {
    this.#fail(new Unanswered("Connection is closed."));
    if (!this.#own || this.#closed) return;
    // Ending it in good manners would wait for the server, which may be what does not answer.
    const { stream } = this.client as Streaming;
    if (stream) stream.destroy();
    else this.client.disconnect(true);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#looking);
    for (const go of this.#waiting) go();
    this.#fail(this.closedError());
    if (this.#own) this.client.disconnect();
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend of ${this.#what} is closed; make a new one`);
  }

  async #ready(): Promise<void> {
    const until = performance.now() + patienceMs;
    while (this.client.status !== "ready") {
      if (this.#closed) throw this.closedError();
      const left = until - performance.now();
      const { status } = this.client;
      if (left <= 0) throw failure(this.#lastError ?? new Error("Connection is closed."), this.#what, false);
      if (status === "end" || status === "wait")
        this.client.connect().catch((error: unknown) => (this.#lastError = error));
      await new Promise<void>((done) => {
        const go = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(go);
          done();
        };
        const timer = setTimeout(go, Math.min(left, 200));
        this.#waiting.add(go);
      });
    }
  }

  /**
   * Gives up a connection that says nothing. ioredis' own limit makes and clears a timer for each command, which costs as much as the
   * command, and takes a thread that was blocked for a server that was silent. Bytes count too: a long answer comes in many pieces.
   */
  #look(): void {
    const heard = `${this.#answers} ${(this.client as Streaming).stream?.bytesRead}`;
    if (this.#underWay.size === 0) {
      clearInterval(this.#looking);
      this.#looking = undefined;
      this.#silentLooks = 0;
    } else if (heard !== this.#heard) this.#silentLooks = 0;
    else if (++this.#silentLooks * lookMs >= this.#silenceMs) {
      this.#silentLooks = 0;
      this.reset();
    }
    this.#heard = heard;
  }

  #begin(call: Breakable): void {
    this.#underWay.add(call);
    if (this.#silenceMs > 0) this.#looking ??= setInterval(() => this.#look(), lookMs).unref();
  }

  #fail(error: unknown): void {
    for (const call of this.#underWay) call.reject(error);
    this.#underWay.clear();
  }
}

/** A cluster's answer while a slot moves, as it is and as ioredis gives it up. */
function isMoving(error: unknown): boolean {
  return /TRYAGAIN|Too many Cluster redirections/.test(messageOf(error));
}

/** Calls after a moment that is not the same for all. */
async function later<T>(
  call: () => Promise<T>,
  done: (answer: T) => void,
  fail: (error: unknown) => void,
): Promise<void> {
  try {
    await sleep(20 + Math.random() * 80);
    done(await call());
  } catch (error) {
    fail(error);
  }
}
