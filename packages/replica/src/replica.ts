// The engine: runs commands over an ordered log. It appends commits, replays everyone's, and survives lost answers.
import { isOmniQError, OmniQError } from "@omniq/core";
import { randomUUID } from "node:crypto";
import { apply, isRead } from "./apply.ts";
import type { AnswerOf, Command, WriteCommand } from "./command.ts";
import {
  decodeCommit,
  encodeCommit,
  foreignCommit,
  outcomeKey,
  type Commit,
  type CommitRequest,
  type Lane,
  type LaneRequest,
} from "./commit.ts";
import { Listeners, takeChanges, type Changes, type Executor } from "./executor.ts";
import { Machine, type OperationAnswer, type RequestOutcome } from "./machine.ts";
import { Checkpointer } from "./checkpointer.ts";
import { Crowd } from "./crowd.ts";
import type { AppendAnswer, OrderedLog } from "./ordered-log.ts";
import { isHeartbeat, takeRiders, type Pending } from "./riders.ts";
import { createState, type ReplicaState } from "./state.ts";
import { pause } from "./waiting.ts";

export interface ReplicaOptions {
  readonly eventTtlMs?: number | undefined;
  /** How long an append is sent again while its answer is lost, before the callers hear `OMNIQ_BACKEND_UNAVAILABLE`. Default 30,000. */
  readonly giveUpMs?: number | undefined;
  /** The pause before an append is sent again. Default 50. */
  readonly resendMs?: number | undefined;
  /** A checkpoint is taken after so many bytes of log, or as many as the last checkpoint has. Default 8 MiB. */
  readonly checkpointBytes?: number | undefined;
  /** How many bytes of calls ride in one commit, at most about; a larger call rides alone. Default 524,288. */
  readonly commitBytes?: number | undefined;
  /** How many lanes the state keeps; part of the format, so that only tests may change it. */
  readonly laneLimit?: number | undefined;
}

/** A commit that follows another one than was applied, so many times in a row, is not of this log. */
const mismatchLimit = 5;
const allChanged: Changes = { queues: new Set(), results: new Set(), events: true, all: true };

/** An executor over an ordered log. Make it with {@link Replica.open}. */
export class Replica implements Executor {
  readonly #log: OrderedLog;
  readonly #options: ReplicaOptions;
  readonly #listeners: Listeners = new Listeners();
  readonly #ended: AbortController = new AbortController();
  #machine: Machine;
  #lane: Lane = { id: "", since: 0 };
  #n = 0;
  #pending: Pending[] = [];
  #pumping = false;
  /** Ends when the pass over the log that was asked for last has ended; one pass reads at a time. */
  #passes: Promise<unknown> = Promise.resolve();
  /** The pass to the end of the log that has not begun yet; all who ask before it begins share it. */
  #nextPass: Promise<void> | undefined;
  /** What rides in the append that is under way. */
  #riding: readonly Pending[] = [];
  #outcomes = new Map<string, RequestOutcome>();
  readonly #checkpointer: Checkpointer;
  #epoch = 0;
  /** The state is to be loaded anew before anything else is read. */
  #stale = false;
  /** Who else writes; whether commits of others were applied since listeners heard; when the state's time last moved, by the monotonic clock. */
  readonly #crowd: Crowd = new Crowd();
  #foreign = false;
  #hurry: (() => void) | undefined;
  #atSince = 0;

  private constructor(log: OrderedLog, options: ReplicaOptions) {
    this.#log = log;
    this.#options = options;
    this.#checkpointer = new Checkpointer(log, options.checkpointBytes);
    this.#machine = new Machine(createState({ eventTtlMs: options.eventTtlMs }), options.laneLimit);
  }

  /** Loads the newest checkpoint, replays what follows, and goes on following the log. */
  static async open(log: OrderedLog, options: ReplicaOptions = {}): Promise<Replica> {
    const replica = new Replica(log, options);
    await replica.#reopen();
    replica.#newLane();
    void replica.#follow();
    return replica;
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    this.#ended.signal.throwIfAborted();
    const writes = commands.filter((command): command is WriteCommand => !isRead(command));
    // A read needs no commit, but everything that was acknowledged before it to anyone.
    const answered = writes.length > 0 ? await this.#submit(writes, options.signal) : (await this.#catchUp(), []);
    let next = 0;
    let failure: OmniQError | undefined;
    const answers = commands.map((command) => {
      if (isRead(command)) return apply(this.#machine.state, command, this.now(), "");
      const answer = answered[next++];
      if (answer === undefined) return undefined;
      if ("failure" in answer) failure ??= new OmniQError(answer.failure.code, answer.failure.message);
      return "value" in answer ? answer.value : undefined;
    });
    if (failure !== undefined) throw failure;
    return answers as never;
  }

  now(): number {
    const { at } = this.#machine.state;
    const now = this.#log.now();
    if (now > at || this.#log.ordering === "server" || at === 0) return Math.max(now, at);
    // The clock was set back, or others' is ahead: time goes on from the last commit, so that no lease is frozen.
    return at + Math.floor(performance.now() - this.#atSince);
  }
  view(): ReplicaState {
    return this.#machine.state;
  }
  /** The last position applied. */
  position(): number {
    return this.#machine.position;
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#listeners.add(listener);
  }
  /** The state with its lanes as text, as a checkpoint holds it. */
  encode(): string {
    return this.#machine.encode();
  }

  /** Ends everything; calls under way reject with `OMNIQ_CLOSED`. Idempotent. Does not close the log. */
  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    const closed = new OmniQError("OMNIQ_CLOSED", "The replica is closed; open a new one to go on");
    this.#ended.abort(closed);
    for (const pending of [...this.#pending.splice(0), ...this.#riding]) pending.reject(closed);
    this.#listeners.clear();
    await this.#checkpointer.rest();
  }

  #newLane(): void {
    this.#lane = { id: randomUUID(), since: this.#machine.position };
    this.#n = 0;
  }

  #submit(commands: readonly WriteCommand[], signal: AbortSignal | undefined): Promise<readonly OperationAnswer[]> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#pending = this.#pending.filter((each) => each !== pending);
        reject(signal?.reason as Error);
      };
      const forget = (): void => signal?.removeEventListener("abort", aborted);
      const pending: Pending = {
        commands,
        resolve: (answers) => {
          forget();
          resolve(answers);
        },
        reject: (reason) => {
          forget();
          reject(reason as Error);
        },
      };
      signal?.addEventListener("abort", aborted, { once: true });
      this.#pending.push(pending);
      if (commands.some(isHeartbeat)) this.#hurry?.();
      if (!this.#pumping) void this.#pump();
    });
  }

  /** One append under way; what is asked meanwhile rides in the next. */
  async #pump(): Promise<void> {
    this.#pumping = true;
    await Promise.resolve();
    while (this.#pending.length > 0) {
      await this.#giveWay();
      const riders = takeRiders(this.#pending, this.#options.commitBytes);
      this.#riding = riders;
      try {
        const answers = await this.#send(riders.flatMap(({ commands }) => commands));
        let next = 0;
        for (const rider of riders) {
          rider.resolve(answers.slice(next, next + rider.commands.length));
          next += rider.commands.length;
        }
      } catch (error) {
        for (const rider of riders) rider.reject(error);
      }
      this.#riding = [];
      if (!this.#ended.signal.aborted) this.#checkpointer.look(this.#machine);
    }
    this.#pumping = false;
  }

  /** Whoever has just written lets the others have their turn, unless a heartbeat is due; what is asked meanwhile rides along. */
  async #giveWay(): Promise<void> {
    if (this.#log.ordering === "server" || this.#pending.some(({ commands }) => commands.some(isHeartbeat))) return;
    const restMs = this.#crowd.turnMs(this.#machine.position);
    if (restMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, restMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = undefined;
  }

  /** Brings one request into the log exactly once and answers what it did. */
  async #send(operations: readonly WriteCommand[]): Promise<readonly OperationAnswer[]> {
    for (;;) {
      this.#outcomes.clear();
      const request: LaneRequest = { lane: this.#lane, n: ++this.#n, operations };
      const { outcome, inDoubt } = await this.#place(request);
      if (outcome.state !== "refused") return outcome.answers;
      this.#newLane();
      if (inDoubt) {
        throw new OmniQError(
          "OMNIQ_BACKEND_UNAVAILABLE",
          "The outcome of the call is unknown: this process was cut off for so long that the log forgot it; look before you call again",
        );
      }
    }
  }

  async #place(request: LaneRequest): Promise<{ readonly outcome: RequestOutcome; readonly inDoubt: boolean }> {
    const deadline = performance.now() + (this.#options.giveUpMs ?? 30_000);
    const resendMs = this.#options.resendMs ?? 50;
    let inDoubt = false;
    for (;;) {
      const position = this.#machine.position + 1;
      const byPosition = this.#log.ordering === "position";
      const commit: Commit = {
        id: randomUUID(),
        sequence: byPosition ? position : 0,
        previous: byPosition ? this.#machine.commitId : "",
        at: this.now(),
        requests: [request],
      };
      const body = encodeCommit(commit);
      const epoch = this.#epoch;
      const sentAt = performance.now();
      const answer = await this.#append(position, body, resendMs, deadline, request);
      if (answer.state !== "stale") this.#crowd.timed(performance.now() - sentAt);
      if (answer.state === "stale") {
        await this.#persist(() => this.#reopen(), deadline, resendMs);
        inDoubt = true;
      } else if (
        answer.state === "stored" &&
        byPosition &&
        this.#epoch === epoch &&
        this.#machine.position === position - 1
      ) {
        // What was stored need not be read back.
        this.#applyCommit(commit, body, position);
        this.#crowd.won();
        this.#notify();
      } else {
        // What came first is read, and not what may come after it: the next append finds that out, a round trip sooner.
        const storedAt = answer.state === "stored" && !byPosition ? answer.position : undefined;
        const upTo = answer.state === "taken" ? position : storedAt;
        await this.#persist(() => this.#catchUp(upTo), deadline, resendMs);
      }
      // Loaded anew since it was sent, be it only by this pass: the commit that decides may be in a checkpoint.
      if (this.#epoch !== epoch) inDoubt = true;
      const outcome = this.#takeOutcome(request);
      if (outcome !== undefined) return { outcome, inDoubt };
      if (inDoubt && request.n > 1 && !this.#machine.knowsLane(request.lane.id))
        return { outcome: { state: "refused" }, inDoubt };
      if (performance.now() > deadline) throw await this.#abandon(request);
      if (answer.state === "taken") await pause(this.#crowd.lostMs());
    }
  }

  /** Appends one body until the answer is definite. */
  async #append(
    position: number,
    body: string,
    resendMs: number,
    deadline: number,
    request: LaneRequest,
  ): Promise<AppendAnswer> {
    for (;;) {
      try {
        const answer = await this.#log.append(position, body);
        if (answer.state !== "unknown") return answer;
      } catch (error) {
        // The store is away, or it refused for good; only the first may have stored it.
        if (!isOmniQError(error) || !error.retryable || error.code === "OMNIQ_BACKEND_FULL")
          throw await this.#abandon(request, error);
      }
      this.#ended.signal.throwIfAborted();
      if (performance.now() > deadline) throw await this.#abandon(request);
      await pause(resendMs);
    }
  }

  /** Gives a request up. What was sent may still take effect, so its lane is not used again. */
  async #abandon(request: LaneRequest, cause?: unknown): Promise<unknown> {
    this.#outcomes.delete(outcomeKey(request));
    this.#newLane();
    if (cause !== undefined) return cause;
    return new OmniQError(
      "OMNIQ_BACKEND_UNAVAILABLE",
      "The store did not answer in time; the call may or may not have taken effect",
    );
  }

  async #persist(step: () => Promise<void>, deadline: number, resendMs: number): Promise<void> {
    for (;;) {
      try {
        await step();
        return;
      } catch (error) {
        if (!isOmniQError(error) || !error.retryable || performance.now() > deadline || this.#ended.signal.aborted) {
          this.#newLane();
          throw error;
        }
        await pause(resendMs);
      }
    }
  }

  #takeOutcome(request: LaneRequest): RequestOutcome | undefined {
    const key = outcomeKey(request);
    const outcome = this.#outcomes.get(key);
    if (outcome !== undefined) {
      this.#outcomes.delete(key);
      return outcome;
    }
    const answers = this.#machine.answersOf(request.lane.id, request.n);
    return answers === undefined ? undefined : { state: "duplicate", answers };
  }

  /** Applies all that is in the log at the time of the call; with `upTo`, what is up to that position. */
  #catchUp(upTo?: number): Promise<void> {
    if (upTo !== undefined) {
      return this.#pass(async () => {
        if (this.#stale || this.#machine.position < upTo) await this.#readAll(upTo);
      });
    }
    // A pass that is under way may have read the end before this call; the next one has not.
    this.#nextPass ??= this.#pass(() => {
      this.#nextPass = undefined;
      return this.#readAll();
    });
    return this.#nextPass;
  }
  #pass(read: () => Promise<void>): Promise<void> {
    const pass = this.#passes.then(read);
    this.#passes = pass.catch(() => undefined);
    return pass;
  }

  async #readAll(wanted?: number): Promise<void> {
    let upTo = wanted;
    for (let mismatches = 0; ;) {
      if (this.#stale) {
        await this.#load();
        // The position was one of the log as it was; in this one it may never come.
        upTo = undefined;
      } else if (upTo !== undefined && this.#machine.position >= upTo) break;
      const answer = await this.#log.read(this.#machine.position + 1, upTo);
      if (answer.state === "stale") {
        this.#stale = true;
        continue;
      }
      if (answer.entries.length === 0) break;
      let fits = true;
      const before = this.#machine.position;
      for (const { position, body, storedAt } of answer.entries) {
        if (position <= this.#machine.position) continue;
        const commit = decodeCommit(body, position);
        // Another history than the one applied: not damage, but a reason to open again.
        if (this.#log.ordering === "position" && commit.previous !== this.#machine.commitId) {
          fits = false;
          break;
        }
        this.#applyCommit(commit, body, position, storedAt);
      }
      this.#notify();
      if (fits) continue;
      this.#stale = true;
      mismatches = this.#machine.position > before ? 1 : mismatches + 1;
      if (mismatches >= mismatchLimit) throw foreignCommit(this.#machine.position + 1);
    }
    this.#notify();
  }

  #applyCommit(commit: Commit, body: string, position: number, storedAt?: number): void {
    const before = this.#machine.state.at;
    const outcomes = this.#machine.applyCommit(commit, position, storedAt);
    if (this.#machine.state.at > before) this.#atSince = performance.now();
    this.#checkpointer.grew(body.length);
    if (!commit.requests.every(({ lane }) => lane?.id === this.#lane.id)) this.#foreign = true;
    this.#crowd.saw(commit, position, this.#lane.id);
    for (const [index, request] of commit.requests.entries()) {
      const outcome = outcomes[index];
      if (request.lane?.id === this.#lane.id && outcome !== undefined) this.#keepOutcome(request, outcome);
    }
  }

  #keepOutcome(request: CommitRequest, outcome: RequestOutcome): void {
    // The first says what it did; a second copy of it only repeats that.
    if (!this.#outcomes.has(outcomeKey(request)) && request.n === this.#n)
      this.#outcomes.set(outcomeKey(request), outcome);
  }

  #notify(): void {
    const changes = takeChanges(this.#machine.state.journal);
    const { commitId, position } = this.#machine;
    const pauseMs = this.#foreign ? this.#crowd.rankMs(commitId, position, this.#lane.id) : 0;
    this.#foreign = false;
    if (changes !== undefined) this.#listeners.notify(pauseMs > 0 ? { ...changes, pauseMs } : changes);
  }

  /** Opens, or opens again. */
  async #reopen(): Promise<void> {
    this.#stale = true;
    await this.#catchUp();
  }

  /** Loads the newest checkpoint. Only a pass over the log does it, so that no other one reads on from the state before. */
  async #load(): Promise<void> {
    const checkpoint = await this.#log.readCheckpoint();
    this.#machine =
      checkpoint === undefined
        ? new Machine(createState({ eventTtlMs: this.#options.eventTtlMs }), this.#options.laneLimit)
        : Machine.decode(checkpoint.body, this.#options.laneLimit);
    this.#checkpointer.loaded(checkpoint);
    this.#atSince = performance.now();
    this.#stale = false;
    this.#epoch++;
    this.#listeners.notify(allChanged);
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#log.wait(this.#machine.position, signal);
      if (signal.aborted) return;
      try {
        // Something is there by now; that it is the end need not be made sure of.
        await this.#catchUp(this.#machine.position + 1);
      } catch {
        // Whoever calls hears of it; the follower goes on, so that it is there when the store is back.
        await pause(this.#options.resendMs ?? 50);
      }
    }
  }
}
