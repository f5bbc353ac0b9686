// The commit log over an object store: each commit is an object that is created only if absent. Rules 1 to 9 of "File: the commit log".
import { maxCommitLength } from "@omniq/replica";
import type { AppendAnswer, LogCheckpoint, LogEntry, OrderedLog, ReadAnswer, ReplicaOptions } from "@omniq/replica";
import { Checkpoints } from "./checkpoints.ts";
import { logKey, logPrefix } from "./names.ts";
import type { ObjectStore, ReadAnswer as ObjectAnswer } from "./object-store.ts";
import { Pace } from "./pace.ts";
import { StoreClock } from "./store-clock.ts";
import { readCheckpoints, Trust } from "./trust.ts";

export interface CommitLogOptions {
  /** The grace of deletion, G. All processes of a log must have the same, or larger ones than were used before. Default 3,600,000. */
  readonly deletionGraceMs?: number | undefined;
  /** How often an idle process looks for a commit: at first, and at last. Default 50 and 2,000. */
  readonly pollMs?: { readonly busy: number; readonly idle: number } | undefined;
  /** How long a write of a checkpoint whose outcome is unknown is sent again. Default 30,000. */
  readonly giveUpMs?: number | undefined;
  /** How long it rests in between. Default 200. */
  readonly resendMs?: number | undefined;
  /** Most commits that are read at once. Default 32. */
  readonly readAhead?: number | undefined;
  /** Hears of what stands in the store and can't be read. */
  readonly report?: ReplicaOptions["report"];
}

/** One hour: far above what clocks, pauses and lost packets take away. */
export const defaultDeletionGraceMs = 3_600_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** UTF-8 of the longest commit; what is larger is none, and is not held in memory. */
const commitBytes = 3 * maxCommitLength;

export class CommitLog implements OrderedLog {
  readonly ordering = "position";
  readonly #store: ObjectStore;
  readonly #clock: StoreClock = new StoreClock();
  readonly #trust: Trust;
  readonly #checkpoints: Checkpoints;
  readonly #options: CommitLogOptions;
  readonly #pace: Pace;
  /** The last position that this process stored or read. */
  #seen = 0;
  /** Someone's commit stands here, as an append was told; it may be gone, but then so is all before it. */
  #taken = 0;
  /** What a wait found, so that the read that follows need not ask again. */
  #ahead: { readonly position: number; readonly answer: ObjectAnswer } | undefined;
  /** How many commits the last read asked for at once. */
  #width = 1;

  constructor(store: ObjectStore, options: CommitLogOptions = {}) {
    this.#store = store;
    this.#options = options;
    const graceMs = options.deletionGraceMs ?? defaultDeletionGraceMs;
    const hear = (date: number | undefined): void => this.#clock.hear(date);
    const { giveUpMs = 30_000, resendMs = 200, report } = options;
    this.#checkpoints = new Checkpoints(store, { graceMs, giveUpMs, resendMs, report }, hear);
    this.#trust = new Trust(graceMs, () => this.#checkpoints.list());
    this.#pace = new Pace(store, logPrefix, options.pollMs ?? { busy: 50, idle: 2_000 });
  }

  async append(position: number, body: string): Promise<AppendAnswer> {
    const heard = this.#clock.heard;
    const { state, date, cause, wasSent } = await this.#store.create(logKey(position), encoder.encode(body));
    this.#clock.hear(date);
    // Nothing that could be stored left this machine.
    if (state === "unknown" && wasSent === false) throw cause;
    if (state === "unknown") return { state };
    if (state === "exists") {
      this.#taken = position;
      return { state: "taken" };
    }
    // Young by the date of this answer, or above the floor of a list that was sent after it; else it may be a ghost.
    if (!this.#trust.isYoung(position, date) && !(await this.#trust.passesList(position))) return { state: "stale" };
    this.#trust.prove(position + 1, heard);
    this.#seen = Math.max(this.#seen, position);
    this.#pace.busy();
    return { state: "stored", position };
  }

  async read(position: number, upTo?: number): Promise<ReadAnswer> {
    // Whoever lost a race and goes on by appending looks one further at once: where that is there too, the append would be in vain.
    const isLoser = upTo !== undefined && this.#ahead?.position !== position;
    const answers = await this.#readSome(position, isLoser ? 2 : 1);
    const first = answers[0] as ObjectAnswer;
    // Told that something was here, and now nothing is: deleted, as this process slept.
    if (first.object === undefined && position === this.#taken) return { state: "stale" };
    // Absences are judged as commits are: one that is not proven is not the end of the log.
    if (first.object === undefined) {
      if (!this.#trust.isYoung(position, first.date) && !(await this.#trust.passesList(position)))
        return { state: "stale" };
      this.#width = 1;
      return { state: "read", entries: [] };
    }
    const entries: LogEntry[] = [];
    let isListed = false;
    for (const { object, date } of answers) {
      if (object === undefined) break;
      const next = position + entries.length;
      // One list serves the whole batch, as all its answers came before it: what is above the floor at its first name is so at the others.
      if (!isListed && !this.#trust.isYoung(next, date)) {
        if (!(await this.#trust.passesList(next))) {
          if (entries.length === 0) return { state: "stale" };
          break;
        }
        isListed = true;
      }
      if (date !== undefined) this.#trust.prove(next + 1, object.lastModified);
      entries.push({ position: next, body: textOf(object.body) });
    }
    this.#width = entries.length === answers.length ? Math.min(this.#width * 2, this.#options.readAhead ?? 32) : 1;
    this.#seen = Math.max(this.#seen, position + entries.length - 1);
    this.#pace.busy();
    return { state: "read", entries };
  }

  /** The commits at a position and, while they go on, behind it, asked for at once. */
  async #readSome(position: number, least: number): Promise<readonly ObjectAnswer[]> {
    const ahead = this.#ahead?.position === position ? this.#ahead.answer : undefined;
    this.#ahead = undefined;
    const answers = await Promise.all(
      Array.from({ length: Math.max(this.#width, least) }, async (_, index) => {
        if (index === 0 && ahead !== undefined) return ahead;
        return await this.#readOne(position + index);
      }),
    );
    return answers;
  }
  async #readOne(position: number): Promise<ObjectAnswer> {
    const answer = await this.#store.read(logKey(position), commitBytes);
    this.#clock.hear(answer.date);
    return answer;
  }

  async readCheckpoint(below?: number): Promise<LogCheckpoint | undefined> {
    const { checkpoint, date } = await this.#checkpoints.newest(below);
    this.#trust.restart((checkpoint?.position ?? 0) + 1, date);
    this.#ahead = undefined;
    this.#taken = 0;
    this.#seen = checkpoint?.position ?? 0;
    return checkpoint;
  }
  async writeCheckpoint(checkpoint: LogCheckpoint): Promise<void> {
    await this.#checkpoints.write(checkpoint);
  }
  async newestCheckpoint(): Promise<number> {
    return readCheckpoints(await this.#checkpoints.list()).positions[0] ?? 0;
  }
  /** Deletes what is old enough; {@link writeCheckpoint} does it too. */
  async deleteOld(): Promise<void> {
    await this.#checkpoints.deleteOld();
  }

  now(): number {
    return this.#clock.now();
  }
  nameOf(position: number): string {
    return logKey(position);
  }
  lookEvery(ms: number, forMs: number): void {
    this.#pace.lookEvery(ms, forMs);
  }

  async wait(position: number, signal: AbortSignal): Promise<void> {
    if (this.#seen > position) return;
    while (!signal.aborted) {
      // What this process itself stored or read meanwhile wakes nobody.
      const next = Math.max(position, this.#seen) + 1;
      const isThere = await this.#look(next).catch(() => false);
      if (isThere || signal.aborted) return;
      await this.#pace.rest(signal);
    }
  }

  /** True if there is something to read, or what is known of the end is not to be trusted any more. */
  async #look(position: number): Promise<boolean> {
    const answer = await this.#readOne(position);
    if (answer.object !== undefined) {
      if (position === this.#seen + 1) this.#ahead = { position, answer };
      return position > this.#seen;
    }
    return !this.#trust.isYoung(position, answer.date) && !(await this.#trust.passesList(position));
  }

  async close(): Promise<void> {
    this.#pace.close();
  }
}

/** Bytes that are no text of a commit are an empty one. */
function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return "";
  }
}
