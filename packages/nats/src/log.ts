// The command log: one message per commit in a JetStream stream, which the server orders and stamps; checkpoints in a stream beside it.
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import type { AppendAnswer, LogCheckpoint, LogEntry, OrderedLog, ReadAnswer } from "@omniq/replica";
import { Checkpoints } from "./checkpoints.ts";
import type { Connection } from "./connection.ts";
import { Feed, type Delivery } from "./feed.ts";
import { cut, encodeMessage, kindOf, partWindow, textOf } from "./message.ts";
import { ServerClock } from "./server-clock.ts";
import { Stream } from "./stream.ts";

/** How long a read waits for what the server says it has, before it starts over and at last gives up. */
const restartMs = 2_000;
/** What one read gives at most, about, in characters: applying it must not hold up the process for long. */
const readLength = 1_048_576;
/** What may wait here to be read; what comes beyond it is left to the feed, which has the server wait. */
const arrivedLength = 16 * readLength;
const arrivalMs = 10_000;
/** How long a server that becomes the leader of a stream may take to apply what it holds of it; then another one is asked to lead. */
const leaderMs = 1_000;
const leaderChanges = 3;
const electionMs = 500;

export interface LogNames {
  readonly prefix: string;
  readonly partition: string;
  /** What the stream's description says: the partitions of the namespace. */
  readonly layout?: string | undefined;
}
export const logName = ({ prefix, partition }: LogNames): string => `${prefix}-log-${partition}`;
export const checkpointName = ({ prefix, partition }: LogNames): string => `${prefix}-checkpoint-${partition}`;

/** The stream of a log. */
export function logStream(connection: Connection, names: LogNames, replicas: number): Stream {
  const { prefix, partition, layout } = names;
  const more = { deny_delete: true, ...(layout === undefined ? {} : { description: layout }) };
  return new Stream(connection, logName(names), [`${prefix}.log.${partition}`], replicas, more);
}

/** A commit that was delivered; parts that were not delivered with it are still numbers, to be fetched. */
interface Arrived {
  readonly position: number;
  readonly storedAt: number;
  readonly body: string | readonly (Uint8Array | number)[];
}

export class NatsLog implements OrderedLog {
  readonly ordering = "server";
  readonly #connection: Connection;
  readonly #stream: Stream;
  readonly #subject: string;
  readonly #checkpoints: Checkpoints;
  readonly #clock: ServerClock = new ServerClock();
  readonly #ended: AbortController = new AbortController();
  readonly #forgetReturn: () => void;
  readonly #wakers = new Set<() => void>();
  readonly #warn: (message: string) => void;
  #made: Promise<void> | undefined;
  #feed: Feed | undefined;
  #starting: Promise<boolean> | undefined;
  /** What came and was not read yet, in order; everything after {@link #taken} up to {@link #seen}. */
  #arrived: Arrived[] = [];
  /** Up to here all was read. */
  #taken = 0;
  #arrivedLength = 0;
  /** The last read left some of what was there. */
  #more = false;
  /** The last sequence that came, whether it was a commit or not. */
  #seen = 0;
  /** The newest message that came, to recognise the log by after a reconnect. */
  #mark: { readonly sequence: number; readonly data: Uint8Array } | undefined;
  #stale = false;
  readonly #parts = new Map<number, Uint8Array>();

  /** `warn` hears of what an operator should know. */
  constructor(connection: Connection, names: LogNames, replicas: number, warn: (message: string) => void = () => {}) {
    const { prefix, partition } = names;
    this.#connection = connection;
    this.#subject = `${prefix}.log.${partition}`;
    this.#stream = logStream(connection, names, replicas);
    const checkpointSubject = `${prefix}.checkpoint.${partition}`;
    this.#checkpoints = new Checkpoints(connection, checkpointName(names), checkpointSubject, replicas);
    this.#warn = warn;
    // What was sent while the connection was away is lost, and the server may have been set back.
    this.#forgetReturn = connection.onReturn(() => {
      this.#feed?.stop();
      this.#wake();
    });
  }

  async append(_position: number, body: string): Promise<AppendAnswer> {
    this.#ended.signal.throwIfAborted();
    await this.#make();
    const { nats } = await this.#connection.open();
    const limit = (nats.info?.max_payload ?? 1_048_576) - 1_024;
    const message = encodeMessage("c", body);
    if (message.length <= limit) return { state: "stored", position: await this.#publish(message) };
    const pieces = cut(message.subarray(1), limit - 1);
    const parts = await Promise.all(pieces.map((piece) => this.#publish(encodeMessage("p", piece))));
    return { state: "stored", position: await this.#publish(encodeMessage("r", JSON.stringify(parts))) };
  }

  async read(position: number, upTo?: number): Promise<ReadAnswer> {
    const deadline = performance.now() + arrivalMs;
    for (let unsure = upTo === undefined; ; unsure = true) {
      this.#ended.signal.throwIfAborted();
      if (this.#stale || !(await this.#follow(position))) return this.#giveUp();
      const entries = await this.#take(position);
      if (entries.length > 0) return { state: "read", entries };
      if (upTo !== undefined && this.#seen >= upTo) return { state: "read", entries: [] };
      if (unsure) {
        // What comes while the server answers is not in its answer.
        const seen = this.#seen;
        const ends = await this.#stream.ends();
        this.#absorb();
        if (ends === undefined) this.#made = undefined;
        // A log that is shorter than what came of it lost its end, or was made anew; one that begins later was purged meanwhile.
        if (ends === undefined || ends.last < Math.max(seen, upTo ?? 0) || ends.first > this.#seen + 1)
          return this.#giveUp();
        if (ends.last <= this.#seen) {
          if (this.#arrived.length > 0) continue;
          return { state: "read", entries: [] };
        }
      }
      if (performance.now() > deadline)
        throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", `Stream ${this.#stream.name} does not deliver what it has`);
      // Whoever waits for more may have sorted in meanwhile what this read looked for.
      if (this.#arrived.length > 0 || this.#feed?.empty === false) continue;
      if (!(await this.#change(restartMs))) this.#feed?.stop();
    }
  }

  async readCheckpoint(): Promise<LogCheckpoint | undefined> {
    await this.#make();
    for (let changes = 0, until = performance.now() + leaderMs; ;) {
      this.#ended.signal.throwIfAborted();
      const checkpoint = await this.#checkpoints.read();
      const position = checkpoint?.position ?? 0;
      const ends = await this.#stream.ends();
      if (ends === undefined || ends.first <= position + 1) {
        if (checkpoint !== undefined) await this.#fill(position);
        return checkpoint;
      }
      // A newer checkpoint may have been taken, and the log purged, between the two looks; or the leader of one of the streams does not know yet all
      // that it holds, or lost what others still have when it was killed (seen on clusters of 2.9). Else what lies between is gone.
      if (performance.now() > until) {
        if (changes === leaderChanges) {
          throw new OmniQError(
            "OMNIQ_BACKEND_FAILED",
            `Stream ${this.#stream.name} begins at ${ends.first}, after its newest checkpoint at ${position}: commits are missing; restore both ` +
              "streams from a backup",
          );
        }
        changes++;
        // Without replicas nobody else can.
        await Promise.allSettled([this.#stream.stepDown(), this.#checkpoints.changeLeader()]);
        // They have none until the others have chosen.
        await sleep(electionMs);
        until = performance.now() + leaderMs;
      }
      await sleep(100);
    }
  }
  async writeCheckpoint(checkpoint: LogCheckpoint): Promise<void> {
    const before = await this.#checkpoints.write(checkpoint);
    if (before !== undefined) await this.#stream.purgeBefore(before + 1 - partWindow);
  }
  async newestCheckpoint(): Promise<number> {
    return await this.#checkpoints.position();
  }

  now(): number {
    return this.#clock.now();
  }

  async wait(position: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#ended.signal.aborted && !this.#stale) {
      this.#absorb();
      if ((this.#arrived.at(-1)?.position ?? 0) > position) return;
      if (this.#feed === undefined || this.#feed.stopped) {
        // Whoever waits must not depend on others' calls to hear from the server.
        const begun = this.#feed === undefined ? this.#follow(position + 1) : this.#restart();
        const same = await begun.catch(() => undefined);
        if (same === false) this.#stale = true;
        else if (same === undefined) await this.#change(500, signal);
      } else await this.#change(undefined, signal);
    }
  }

  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(this.#connection.closedError());
    this.#forgetReturn();
    this.#feed?.stop();
    this.#wake();
  }

  #publish(message: Uint8Array): Promise<number> {
    return this.#stream.publish(this.#subject, message);
  }

  /** Makes the stream where it is missing. */
  #make(): Promise<void> {
    return (this.#made ??= (async () => {
      if ((await this.#stream.ends()) === undefined) await this.#stream.make();
    })().catch((error: unknown) => {
      this.#made = undefined;
      throw error;
    }));
  }

  /**
   * A log that ends before its checkpoint lost its tail with the server's disk. What comes next must lie above the checkpoint, or nobody
   * would ever read it; so the gap is filled with messages that mean nothing, by whoever sees it, and once more by others, which does no harm.
   */
  async #fill(position: number): Promise<void> {
    let ends = await this.#stream.ends();
    if (ends === undefined || ends.last >= position) return;
    this.#warn(
      `Stream ${this.#stream.name} ends at ${ends.last}, before its checkpoint at ${position}: the server lost what it had acknowledged ` +
        "(see sync_interval in its jetstream settings). OmniQ goes on from the checkpoint; what came after it is gone",
    );
    const filler = encodeMessage("x", "");
    while (ends !== undefined && ends.last < position) {
      const count = Math.min(256, position - ends.last);
      await Promise.all(Array.from({ length: count }, () => this.#publish(filler)));
      ends = await this.#stream.ends();
    }
  }

  #giveUp(): ReadAnswer {
    this.#stale = false;
    this.#mark = undefined;
    this.#reset(1);
    return { state: "stale" };
  }
  #reset(position: number): void {
    this.#feed?.stop();
    this.#feed = undefined;
    this.#arrived = [];
    this.#arrivedLength = 0;
    this.#more = false;
    this.#parts.clear();
    this.#seen = position - 1;
    this.#taken = position - 1;
  }

  /** Sees to it that what comes next is at `position`. False when the log is not the one that was seen. */
  async #follow(position: number): Promise<boolean> {
    this.#absorb();
    if (this.#feed === undefined || position <= this.#taken || position > this.#seen + 1) this.#reset(position);
    return this.#feed !== undefined && !this.#feed.stopped ? true : await this.#restart();
  }
  #restart(): Promise<boolean> {
    return (this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    }));
  }
  async #start(): Promise<boolean> {
    await this.#make();
    this.#absorb();
    const ends = await this.#stream.ends();
    if (ends === undefined) this.#made = undefined;
    const next = this.#seen + 1;
    if (ends === undefined || ends.last < next - 1 || ends.first > next) return false;
    const mark = this.#mark;
    if (mark !== undefined && mark.sequence >= ends.first && mark.sequence < next) {
      const message = await this.#stream.message({ seq: mark.sequence });
      if (message === undefined || Buffer.compare(message.data, mark.data) !== 0) return false;
    }
    const feed = new Feed(this.#connection, this.#stream.name, () => this.#wake());
    await feed.start(next);
    if (this.#ended.signal.aborted || this.#seen + 1 !== next) feed.stop();
    this.#feed = feed;
    return true;
  }

  /** Sorts what came. */
  #absorb(): void {
    const feed = this.#feed;
    if (feed === undefined || feed.empty || this.#arrivedLength > arrivedLength) return;
    const deliveries = feed.take();
    for (const delivery of deliveries) this.#absorbOne(delivery);
    const newest = deliveries.at(-1);
    if (newest !== undefined) this.#mark = { sequence: newest.sequence, data: newest.data };
  }
  #absorbOne({ sequence, data, storedAt, live }: Delivery): void {
    this.#seen = sequence;
    this.#arrivedLength += data.length;
    if (live) this.#clock.observe(storedAt);
    const kind = kindOf(data);
    if (kind === "c") this.#arrived.push({ position: sequence, storedAt, body: textOf(data) });
    else if (kind === "p") this.#keepPart(sequence, data.subarray(1));
    else if (kind === "r") {
      const parts = JSON.parse(textOf(data)) as readonly number[];
      if (parts.some((part) => sequence - part > partWindow)) return;
      this.#arrived.push({ position: sequence, storedAt, body: parts.map((part) => this.#parts.get(part) ?? part) });
      for (const part of parts) this.#parts.delete(part);
    }
  }
  #keepPart(sequence: number, piece: Uint8Array): void {
    this.#parts.set(sequence, piece);
    for (const old of this.#parts.keys()) {
      if (sequence - old <= partWindow) break;
      this.#parts.delete(old);
    }
  }

  /** Gives away what is there from `position` on. */
  async #take(position: number): Promise<LogEntry[]> {
    // A long replay lets timers and other connections have their turn.
    if (this.#more) await new Promise((resolve) => void setImmediate(resolve));
    this.#absorb();
    let length = 0;
    let count = 0;
    while (count < this.#arrived.length && length < readLength) length += lengthOf(this.#arrived[count++] as Arrived);
    const taken = this.#arrived.splice(0, count);
    this.#more = this.#arrived.length > 0;
    this.#arrivedLength = this.#more ? this.#arrivedLength - length : 0;
    this.#taken = Math.max(this.#taken, taken.at(-1)?.position ?? 0);
    const entries: LogEntry[] = [];
    for (const { position: at, storedAt, body } of taken) {
      if (at < position) continue;
      const text = typeof body === "string" ? body : await this.#join(body);
      entries.push({ position: at, body: text, storedAt });
    }
    return entries;
  }
  async #join(parts: readonly (Uint8Array | number)[]): Promise<string> {
    const pieces = await Promise.all(
      parts.map(async (part) => {
        if (typeof part !== "number") return part;
        const message = await this.#stream.message({ seq: part });
        if (message !== undefined) return message.data.subarray(1);
        throw new OmniQError(
          "OMNIQ_BACKEND_FAILED",
          `A part of a commit is missing in stream ${this.#stream.name}; restore it from a backup`,
        );
      }),
    );
    return Buffer.concat(pieces).toString("utf8");
  }

  /** Resolves with true when something may have changed, with false after a time. */
  #change(timeoutMs: number | undefined, signal?: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (changed: boolean): void => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve(changed);
      };
      const wake = (): void => finish(true);
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => finish(false), timeoutMs);
      this.#wakers.add(wake);
      signal?.addEventListener("abort", wake, { once: true });
      if (signal?.aborted === true || this.#ended.signal.aborted) wake();
    });
  }
  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }
}

function lengthOf({ body }: Arrived): number {
  return typeof body === "string" ? body.length : readLength;
}
