// The command log: one message per commit in a JetStream stream, which the server orders and stamps; checkpoints in a stream beside it.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, OmniQError } from "@omniq/core";
import type { AppendAnswer, LogCheckpoint, LogEntry, OrderedLog, ReadAnswer } from "@omniq/replica";
import { Arrivals } from "./arrivals.ts";
import { Checkpoints } from "./checkpoints.ts";
import type { Connection } from "./connection.ts";
import { Feed } from "./feed.ts";
import { cut, encodeMessage, kindOf, partWindow } from "./message.ts";
import { ServerClock } from "./server-clock.ts";
import { Stream } from "./stream.ts";

/** How long a read waits for what the server says it has, before it starts over and at last gives up. */
const restartMs = 2_000;
const arrivalMs = 10_000;
/** How many messages that a node does not have are taken from the leader before it is asked again to feed; and how many together. */
const bridgeLength = 256;
const bridgeTogether = 16;
/** How long a server that becomes the leader of a stream may take to apply what it holds of it; then another one is asked to lead. */
const leaderMs = 1_000;
const leaderChanges = 3;
const electionMs = 500;
/** How often a process that has the state looks whether a checkpoint lacks, at most. */
const lookMs = 1_000;
/** How long who lacks a checkpoint waits for those who may write it. */
const askMs = 2_000;

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

export interface LogListeners {
  readonly warn?: (message: string) => void;
  readonly report?: (message: string) => void;
}

export class NatsLog implements OrderedLog {
  readonly ordering = "server";
  readonly #connection: Connection;
  readonly #stream: Stream;
  readonly #subject: string;
  readonly #checkpoints: Checkpoints;
  readonly #arrivals: Arrivals;
  readonly #clock: ServerClock = new ServerClock();
  readonly #ended: AbortController = new AbortController();
  readonly #forgetReturn: () => void;
  readonly #wakers = new Set<() => void>();
  readonly #warn: (message: string) => void;
  #made: Promise<void> | undefined;
  #feed: Feed | undefined;
  #starting: Promise<boolean> | undefined;
  #stale = false;
  /** How often in a row the leader, too, did not have the message that comes next. */
  #holes = 0;
  /** The newest checkpoint that this process knows of; and whether one must be written, as the log begins after it. */
  #checkpointed = 0;
  #lacks = false;
  #looking = false;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** `warn` hears of what an operator should know, `report` of what can't be read; of each once. */
  constructor(
    connection: Connection,
    names: LogNames,
    replicas: number,
    { warn = () => {}, report = () => {} }: LogListeners = {},
  ) {
    const { prefix, partition } = names;
    this.#connection = connection;
    this.#subject = `${prefix}.log.${partition}`;
    this.#stream = logStream(connection, names, replicas);
    this.#arrivals = new Arrivals(this.#stream);
    const checkpointSubject = `${prefix}.checkpoint.${partition}`;
    const reported = new Set<string>();
    this.#checkpoints = new Checkpoints(connection, checkpointName(names), checkpointSubject, replicas, (message) => {
      if (reported.size < 1_000 && !reported.has(message)) report(message);
      reported.add(message);
    });
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
    if (message.length <= limit) return await this.#store(message);
    const pieces = cut(message.subarray(1), limit - 1);
    let parts: readonly number[];
    try {
      parts = await Promise.all(pieces.map((piece) => this.#publish(encodeMessage("p", piece))));
    } catch (error) {
      // Parts mean nothing without the message that names them.
      if (!isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN")) throw error;
      throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The NATS server did not answer in time", { cause: error });
    }
    return await this.#store(encodeMessage("r", JSON.stringify(parts)));
  }
  async #store(message: Uint8Array): Promise<AppendAnswer> {
    try {
      return { state: "stored", position: await this.#publish(message) };
    } catch (error) {
      if (isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN")) return { state: "unknown" };
      throw error;
    }
  }

  async read(position: number, upTo?: number): Promise<ReadAnswer> {
    let deadline = performance.now() + arrivalMs;
    for (let unsure = upTo === undefined, reached = 0; ; unsure = true) {
      this.#ended.signal.throwIfAborted();
      // Much that holds no commit may lie before what is looked for.
      if (this.#arrivals.seen > reached) deadline = performance.now() + arrivalMs;
      reached = this.#arrivals.seen;
      if (this.#stale || !(await this.#follow(position))) return this.#giveUp();
      const entries = await this.#take(position);
      if (entries.length > 0 || (upTo !== undefined && this.#arrivals.seen >= upTo))
        return this.#answer(position, entries);
      if (unsure) {
        // What comes while the server answers is not in its answer.
        const seen = this.#arrivals.seen;
        const ends = await this.#stream.ends();
        this.#absorb();
        if (ends === undefined) this.#made = undefined;
        // A log that is shorter than what came of it lost its end, or was made anew; one that begins later was purged meanwhile.
        if (ends === undefined || ends.last < Math.max(seen, upTo ?? 0) || ends.first > this.#arrivals.seen + 1)
          return this.#giveUp();
        if (ends.first > this.#checkpointed + 1) void this.#lookForHole();
        if (ends.last <= this.#arrivals.seen) {
          if (!this.#arrivals.empty) continue;
          return this.#answer(position, []);
        }
      }
      if (performance.now() > deadline)
        throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", `Stream ${this.#stream.name} does not deliver what it has`);
      // Whoever waits for more may have sorted in meanwhile what this read looked for.
      if (!this.#arrivals.empty || this.#feed?.empty === false || this.#feed?.gap === true) continue;
      if (!(await this.#change(restartMs))) this.#feed?.stop();
    }
  }

  /** What was read; behind it, up to where all is known, no commit follows. */
  #answer(position: number, entries: readonly LogEntry[]): ReadAnswer {
    const { seen, empty } = this.#arrivals;
    const last = entries.at(-1)?.position ?? position - 1;
    return { state: "read", entries, ...(empty && seen > last && { upTo: seen }) };
  }

  async readCheckpoint(below?: number): Promise<LogCheckpoint | undefined> {
    await this.#make();
    let hasAsked = false;
    for (let changes = 0, until = performance.now() + leaderMs; ; await sleep(100)) {
      this.#ended.signal.throwIfAborted();
      const checkpoint = await this.#checkpoints.read(below);
      const fault = await this.#faultOf(checkpoint);
      if (fault === undefined && checkpoint !== "broken") {
        if (checkpoint !== undefined) await this.#fill(checkpoint.position);
        this.#checkpointed = checkpoint?.position ?? 0;
        return checkpoint;
      }
      // Whoever has the state can write the checkpoint that lacks: a message that means nothing makes them look.
      if (!hasAsked) {
        hasAsked = true;
        await this.#publish(encodeMessage("x", "checkpoint")).catch(() => undefined);
        until = performance.now() + askMs;
      }
      // A newer checkpoint may have been taken, and the log purged, between the two looks; or the leader of one of the streams does not know yet all
      // that it holds, or lost what others still have when it was killed (seen on clusters of 2.9). Else what lies between is gone.
      if (performance.now() < until) continue;
      if (changes++ === leaderChanges)
        throw new OmniQError("OMNIQ_BACKEND_FAILED", `${fault}; restore both streams from a backup`);
      // Without replicas nobody else can.
      await Promise.allSettled([this.#stream.stepDown(), this.#checkpoints.changeLeader()]);
      // They have none until the others have chosen.
      await sleep(electionMs);
      until = performance.now() + leaderMs;
    }
  }
  async #faultOf(checkpoint: LogCheckpoint | "broken" | undefined): Promise<string | undefined> {
    if (checkpoint === "broken") return `The newest checkpoint of stream ${this.#stream.name} is not whole`;
    const position = checkpoint?.position ?? 0;
    const first = (await this.#stream.ends())?.first ?? 0;
    if (first <= position + 1) return undefined;
    return `Stream ${this.#stream.name} begins at ${first}, after its newest checkpoint at ${position}: commits are missing`;
  }
  async writeCheckpoint(checkpoint: LogCheckpoint): Promise<void> {
    const before = await this.#checkpoints.write(checkpoint);
    this.#lacks = false;
    this.#checkpointed = Math.max(this.#checkpointed, checkpoint.position);
    if (before !== undefined) await this.#stream.purgeBefore(before + 1 - partWindow);
  }
  async newestCheckpoint(): Promise<number> {
    return await this.#checkpoints.position();
  }

  lacksCheckpoint(): boolean {
    return this.#lacks;
  }
  nameOf(position: number): string {
    return `Message ${position} of stream ${this.#stream.name}`;
  }

  now(): number {
    return this.#clock.now();
  }

  async wait(position: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#ended.signal.aborted && !this.#stale) {
      this.#absorb();
      if (this.#arrivals.last > position || this.#lacks) return;
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
    this.#arrivals.mark = undefined;
    this.#reset(1);
    return { state: "stale" };
  }
  #reset(position: number): void {
    this.#feed?.stop();
    this.#feed = undefined;
    this.#arrivals.reset(position);
  }

  /** Sees to it that what comes next is at `position`. False when the log is not the one that was seen. */
  async #follow(position: number): Promise<boolean> {
    this.#absorb();
    if (this.#feed === undefined || position <= this.#arrivals.taken || position > this.#arrivals.seen + 1)
      this.#reset(position);
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
    let next = this.#arrivals.seen + 1;
    if (ends === undefined || ends.last < next - 1 || ends.first > next) return false;
    const { mark } = this.#arrivals;
    if (mark !== undefined && mark.sequence >= ends.first && mark.sequence < next) {
      const message = await this.#stream.message({ seq: mark.sequence });
      if (message === undefined || Buffer.compare(message.data, mark.data) !== 0) return false;
    }
    if (this.#feed?.gap === true) {
      await this.#bridge(ends.last);
      next = this.#arrivals.seen + 1;
    }
    const feed = new Feed(this.#connection, this.#stream.name, () => this.#wake());
    await feed.start(next);
    if (this.#ended.signal.aborted || this.#arrivals.seen + 1 !== next) feed.stop();
    this.#feed = feed;
    return true;
  }

  /**
   * Takes from the leader what the node of the last feed did not have, up to `last` at most. A node of a cluster may lack messages that it
   * acknowledged before it was killed (seen on 2.9); read without them, the log would be another one for this process than for the rest.
   */
  async #bridge(last: number): Promise<void> {
    const until = Math.min(last, this.#arrivals.seen + bridgeLength);
    while (this.#arrivals.seen < until && !this.#arrivals.full) {
      const first = this.#arrivals.seen + 1;
      const count = Math.min(bridgeTogether, until - this.#arrivals.seen);
      const messages = await Promise.all(
        Array.from({ length: count }, (_, index) => this.#stream.message({ seq: first + index })),
      );
      // Somebody else began to read at another place meanwhile.
      if (this.#arrivals.seen + 1 !== first) return;
      for (const message of messages) {
        if (message === undefined) return await this.#missing();
        this.#holes = 0;
        this.#arrivals.add({ sequence: message.seq, data: message.data, storedAt: timeOf(message.timestamp) });
      }
    }
  }
  /** The leader does not have the next message, either: where there are others, one of them may. */
  async #missing(): Promise<void> {
    const next = this.#arrivals.seen + 1;
    // Purged meanwhile: the next look at the ends notices.
    if (((await this.#stream.ends())?.first ?? 0) > next) return;
    if (this.#holes++ === leaderChanges) {
      this.#holes = 0;
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `Message ${next} of stream ${this.#stream.name} is missing in its middle: commits are lost; restore both streams from a backup`,
      );
    }
    await this.#stream.stepDown().catch(() => undefined);
    await sleep(electionMs);
  }

  /** Sorts what came. */
  #absorb(): void {
    const feed = this.#feed;
    if (feed === undefined || feed.empty || this.#arrivals.full) return;
    for (const delivery of feed.take()) {
      this.#arrivals.add(delivery);
      if (!delivery.live) continue;
      this.#clock.observe(delivery.storedAt);
      if (kindOf(delivery.data) === "x") void this.#lookForHole();
    }
  }

  /** Looks whether commits were purged that no checkpoint holds, as somebody does by hand; then who has applied all of them writes one. */
  async #lookForHole(): Promise<void> {
    if (this.#looking || this.#lacks || this.#ended.signal.aborted) return;
    this.#looking = true;
    try {
      // Anybody can ask as often as he likes.
      await sleep(Math.max(0, this.#lookedAt + lookMs - performance.now()), undefined, { ref: false });
      this.#lookedAt = performance.now();
      if (this.#ended.signal.aborted) return;
      const [ends, position] = [await this.#stream.ends(), await this.#checkpoints.position()];
      this.#checkpointed = position;
      this.#lacks = ends !== undefined && ends.first > position + 1 && this.#arrivals.seen + 1 >= ends.first;
      if (this.#lacks) this.#wake();
    } catch {
      // The next one who looks sees it too.
    } finally {
      this.#looking = false;
    }
  }

  /** Gives away what is there from `position` on. */
  async #take(position: number): Promise<LogEntry[]> {
    await this.#arrivals.rest();
    this.#absorb();
    return await this.#arrivals.take(position);
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

/** Epoch milliseconds of a server's time, cut off as a feed cuts them: all processes must have the same. */
function timeOf(timestamp: string): number {
  const [seconds = "", fraction = ""] = timestamp.replace(/Z$/, "").split(".");
  return Date.parse(`${seconds}Z`) + Number(fraction.slice(0, 3).padEnd(3, "0"));
}
