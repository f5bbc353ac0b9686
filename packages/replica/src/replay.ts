// The state as the log has it: loaded from a checkpoint, brought forward by what is read, loaded anew where the log goes on from another history.
import { Checkpointer } from "./checkpointer.ts";
import { decodeCommit, foreignCommit, type Commit } from "./commit.ts";
import { Crowd } from "./crowd.ts";
import { Listeners, takeChanges, type Changes } from "./executor.ts";
import { Machine } from "./machine.ts";
import type { OrderedLog } from "./ordered-log.ts";
import { OwnLane } from "./own-lane.ts";
import { defaultResendMs, type ReplicaOptions } from "./replica-options.ts";
import { createState } from "./state.ts";
import { pause } from "./waiting.ts";

/** A commit that follows another one than was applied, so many times in a row, is not of this log. */
const mismatchLimit = 5;
const allChanged: Changes = { queues: new Set(), results: new Set(), events: true, all: true };

export class Replay {
  readonly listeners: Listeners = new Listeners();
  /** Hears what its requests did. */
  readonly lane: OwnLane = new OwnLane();
  /** Who else writes. */
  readonly crowd: Crowd = new Crowd();
  readonly checkpointer: Checkpointer;
  readonly #log: OrderedLog;
  readonly #options: ReplicaOptions;
  #machine: Machine;
  /** Ends when the pass over the log that was asked for last has ended; one pass reads at a time. */
  #passes: Promise<unknown> = Promise.resolve();
  /** The pass to the end of the log that has not begun yet; all who ask before it begins share it. */
  #nextPass: Promise<void> | undefined;
  #epoch = 0;
  /** The state is to be loaded anew before anything else is read. */
  #stale = false;
  /** Whether commits of others were applied since listeners heard. */
  #foreign = false;
  /** When the state's time last moved, by the monotonic clock. */
  #atSince = 0;

  constructor(log: OrderedLog, options: ReplicaOptions) {
    this.#log = log;
    this.#options = options;
    this.checkpointer = new Checkpointer(log, options.checkpointBytes);
    this.#machine = this.#newMachine();
  }

  /** The state and its lanes; another object after each time that they were loaded. */
  get machine(): Machine {
    return this.#machine;
  }
  /** How often they were loaded. */
  get epoch(): number {
    return this.#epoch;
  }

  now(): number {
    const { at } = this.#machine.state;
    const now = this.#log.now();
    if (now > at || this.#log.ordering === "server" || at === 0) return Math.max(now, at);
    // The clock was set back, or others' is ahead: time goes on from the last commit, so that no lease is frozen.
    return at + Math.floor(performance.now() - this.#atSince);
  }

  /** Loads the newest checkpoint and all that follows: to open, or to open again. */
  async reopen(): Promise<void> {
    this.#stale = true;
    await this.catchUp();
  }

  /** Applies all that is in the log at the time of the call; with `upTo`, what is up to that position. */
  catchUp(upTo?: number): Promise<void> {
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

  /** Applies what comes into the log, until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#log.wait(this.#machine.position, signal);
      if (signal.aborted) return;
      try {
        // Something is there by now; that it is the end need not be made sure of.
        await this.catchUp(this.#machine.position + 1);
      } catch {
        // Whoever calls hears of it; the follower goes on, so that it is there when the store is back.
        await pause(this.#options.resendMs ?? defaultResendMs);
      }
    }
  }

  /** Applies the commit after the last one, without telling the listeners. */
  apply(commit: Commit, body: string, position: number, storedAt?: number): void {
    const before = this.#machine.state.at;
    const outcomes = this.#machine.applyCommit(commit, position, storedAt);
    if (this.#machine.state.at > before) this.#atSince = performance.now();
    this.checkpointer.grew(body.length);
    if (!commit.requests.every(({ lane }) => lane?.id === this.lane.id)) this.#foreign = true;
    this.crowd.saw(commit, position, this.lane.id);
    for (const [index, request] of commit.requests.entries()) {
      const outcome = outcomes[index];
      if (outcome !== undefined) this.lane.applied(request, outcome);
    }
  }

  /** Tells the listeners what changed since they last heard. */
  notify(): void {
    const changes = takeChanges(this.#machine.state.journal);
    const { commitId, position } = this.#machine;
    const pauseMs = this.#foreign ? this.crowd.rankMs(commitId, position, this.lane.id) : 0;
    this.#foreign = false;
    if (changes !== undefined) this.listeners.notify(pauseMs > 0 ? { ...changes, pauseMs } : changes);
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
        this.apply(commit, body, position, storedAt);
      }
      this.notify();
      if (fits) continue;
      this.#stale = true;
      mismatches = this.#machine.position > before ? 1 : mismatches + 1;
      if (mismatches >= mismatchLimit) throw foreignCommit(this.#machine.position + 1);
    }
    this.notify();
  }

  /** Loads the newest checkpoint. Only a pass over the log does it, so that no other one reads on from the state before. */
  async #load(): Promise<void> {
    const checkpoint = await this.#log.readCheckpoint();
    this.#machine =
      checkpoint === undefined ? this.#newMachine() : Machine.decode(checkpoint.body, this.#options.laneLimit);
    this.checkpointer.loaded(checkpoint);
    this.#atSince = performance.now();
    this.#stale = false;
    this.#epoch++;
    this.listeners.notify(allChanged);
  }
  #newMachine(): Machine {
    return new Machine(createState({ eventTtlMs: this.#options.eventTtlMs }), this.#options.laneLimit);
  }
}
