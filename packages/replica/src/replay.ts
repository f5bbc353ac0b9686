// The state as the log has it: loaded from a checkpoint, brought forward by what is read, loaded anew where the log goes on from another history.
import { isOmniQError, OmniQError } from "@omniq/core";
import { Chain } from "./chain.ts";
import { Checkpointer } from "./checkpointer.ts";
import { voidId, type Commit } from "./commit.ts";
import { Crowd } from "./crowd.ts";
import { allChanged, Listeners, takeChanges } from "./executor.ts";
import { Machine } from "./machine.ts";
import type { LogCheckpoint, OrderedLog } from "./ordered-log.ts";
import { OwnLane } from "./own-lane.ts";
import { damagedCheckpoint } from "./pieces.ts";
import { defaultResendMs, type ReplicaOptions } from "./replica-options.ts";
import { createState } from "./state.ts";
import { pause } from "./waiting.ts";

/** A log that can't be read as it is, is not read again sooner, whoever asks. */
const refusalMs = 1_000;
/** The follower's pauses grow to this while the log can't be read. */
const longestPauseMs = 5_000;
/** How often the follower looks whether the checkpoint that lacks is there. */
const lackingMs = 500;
const rememberedReports = 10_000;
/** A store whose newest checkpoint is stale so many times in a row tells every time another thing. */
const mostLoads = 100;

export class Replay {
  readonly listeners: Listeners = new Listeners();
  /** Hears what its requests did. */
  readonly lane: OwnLane = new OwnLane();
  /** Who else writes. */
  readonly crowd: Crowd = new Crowd();
  readonly checkpointer: Checkpointer;
  readonly #log: OrderedLog;
  readonly #options: ReplicaOptions;
  readonly #chain: Chain;
  #machine: Machine;
  /** Ends when the pass over the log that was asked for last has ended; one pass reads at a time. */
  #passes: Promise<unknown> = Promise.resolve();
  /** The pass to the end of the log that has not begun yet; all who ask before it begins share it. */
  #nextPass: Promise<void> | undefined;
  #epoch = 0;
  /** The state is to be loaded anew before anything else is read. */
  #stale = false;
  /** Why the log can't be read, and until when nobody looks again. */
  #refused: { readonly error: unknown; readonly until: number } | undefined;
  readonly #reported = new Set<string>();
  /** Whether commits of others were applied since listeners heard. */
  #foreign = false;
  /** When the state's time last moved, by the monotonic clock. */
  #atSince = 0;

  constructor(log: OrderedLog, options: ReplicaOptions) {
    this.#log = log;
    this.#options = options;
    this.#chain = new Chain(log);
    this.checkpointer = new Checkpointer(log, options);
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
    const shortest = this.#options.resendMs ?? defaultResendMs;
    let pauseMs = shortest;
    while (!signal.aborted) {
      await this.#log.wait(this.#machine.position, signal);
      if (signal.aborted) return;
      try {
        const isLacking = this.#log.lacksCheckpoint?.() === true;
        // Something is there by now; that it is the end need not be made sure of, but for a checkpoint that must hold all.
        await this.catchUp(isLacking ? undefined : this.#machine.position + 1);
        pauseMs = shortest;
        if (!signal.aborted) this.checkpointer.look(this.#machine);
        if (isLacking) await pause(lackingMs);
      } catch {
        // Whoever calls hears of it; the follower goes on, so that it is there when the store is back.
        await pause(pauseMs);
        pauseMs = Math.min(longestPauseMs, pauseMs * 2);
      }
    }
  }

  /** Applies the commit after the last one, without telling the listeners. */
  apply(commit: Commit, length: number, position: number, storedAt?: number): void {
    const before = this.#machine.state.at;
    const outcomes = this.#machine.applyCommit(commit, position, storedAt);
    if (this.#machine.state.at > before) this.#atSince = performance.now();
    this.checkpointer.grew(length);
    if (!commit.requests.every(({ lane }) => lane?.id === this.lane.id)) this.#foreign = true;
    this.#reportDamage(position);
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
    const pass = this.#passes.then(async () => {
      if (this.#refused !== undefined && performance.now() < this.#refused.until) throw this.#refused.error;
      this.#refused = undefined;
      try {
        await read();
      } catch (error) {
        if (!isOmniQError(error) || !error.retryable) {
          // An operator may put it right: then all is read anew, as what was taken for void may be there again.
          this.#stale = true;
          this.#refused = { error, until: performance.now() + refusalMs };
        }
        throw error;
      }
    });
    this.#passes = pass.catch(() => undefined);
    return pass;
  }

  async #readAll(wanted?: number): Promise<void> {
    let upTo = wanted;
    for (let loads = 0; ;) {
      if (this.#stale) {
        if (loads++ === mostLoads) throw unsettled();
        await this.#load();
        // The position was one of the log as it was; in this one it may never come.
        upTo = undefined;
      } else if (upTo !== undefined && this.#machine.position >= upTo) break;
      const answer = await this.#log.read(this.#machine.position + 1, upTo);
      if (answer.state === "stale") {
        this.#stale = true;
        continue;
      }
      for (const { position, body, storedAt } of answer.entries) {
        if (position > this.#machine.position) this.#take(body, position, storedAt);
        if (this.#stale) break;
      }
      if (!this.#stale) this.#machine.position = Math.max(this.#machine.position, answer.upTo ?? 0);
      this.notify();
      if (answer.entries.length === 0) break;
    }
    this.notify();
  }

  /** What stands at the next position: a commit is applied, what is void counts for nothing, and another history than the one applied is opened. */
  #take(body: string, position: number, storedAt: number | undefined): void {
    const machine = this.#machine;
    const { commitId } = machine;
    const verdict = this.#chain.judge(body, position, { position, commitId, at: machine.state.at });
    if (verdict.state === "commit") this.apply(verdict.commit, body.length, position, storedAt);
    else if (verdict.state === "reopen") this.#stale = true;
    else {
      const id = this.#log.ordering === "position" ? voidId(position) : undefined;
      machine.skip(position, id, verdict.isDeclared);
      this.checkpointer.grew(body.length);
      const name = this.#chain.nameOf(position);
      this.#report(`${name} is void (${verdict.reason}): it is left out by every process`, { position, name });
    }
  }

  /** Loads the newest checkpoint that can be read. Only a pass over the log does it, so that no other one reads on from the state before. */
  async #load(): Promise<void> {
    for (let below: number | undefined; ;) {
      const checkpoint = await this.#log.readCheckpoint(below);
      try {
        this.#machine = checkpoint === undefined ? this.#newMachine() : this.#decode(checkpoint);
        this.checkpointer.loaded(checkpoint);
        break;
      } catch (error) {
        if (checkpoint === undefined || !isOmniQError(error, "OMNIQ_BACKEND_FAILED")) throw error;
        const { position } = checkpoint;
        this.#report(`The checkpoint at ${position} is damaged: the one before it is read`, { position });
        below = position;
      }
    }
    this.#atSince = performance.now();
    this.#stale = false;
    this.#epoch++;
    this.listeners.notify(allChanged);
  }
  #decode({ position, pieces }: LogCheckpoint): Machine {
    const machine = Machine.decode(pieces, this.#options.laneLimit);
    if (machine.position !== position) throw damagedCheckpoint();
    return machine;
  }
  #newMachine(): Machine {
    return new Machine(createState({ eventTtlMs: this.#options.eventTtlMs }), this.#options.laneLimit);
  }

  #reportDamage(position: number): void {
    const { damagedTasks, unreadable } = this.#machine.state.journal;
    for (const taskId of damagedTasks)
      this.#report(`A task cannot be read: it is a dead letter (${taskId})`, { taskId, position });
    if (unreadable.size > 0) {
      const name = this.#chain.nameOf(position);
      this.#report(`${name} holds what cannot be read: it is left out (${[...unreadable].join(", ")})`, {
        position,
        name,
      });
    }
    damagedTasks.clear();
    unreadable.clear();
  }

  /** Once for each. */
  #report(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#reported.has(message) || this.#reported.size >= rememberedReports) return;
    this.#reported.add(message);
    this.#options.report?.("error", message, fields);
  }
}

function unsettled(): OmniQError {
  return new OmniQError(
    "OMNIQ_BACKEND_UNAVAILABLE",
    `The log does not go on from its newest checkpoint, although it was opened ${mostLoads} times in a row; look whether something else deletes in it`,
  );
}
