// Makes due schedules into tasks, on time: one ticker a client, whatever number of workers and schedulers it has.
import type { NewTask, StoredSchedule } from "./contracts/index.ts";
import { atLeastResult, rememberGivenMs } from "./enqueue-prepare.ts";
import { isOmniQError } from "./errors.ts";
import type { Runtime } from "./runtime.ts";
import { decideDue, lastInstant } from "./schedule-rule.ts";
import { decodeRule, decodeTemplate, isNewer, problemOf } from "./schedule-storage-text.ts";
import { ScheduleTimes } from "./schedule-times.ts";
import { occurrenceId } from "./task-id.ts";

/** Schedules in one look at the storage. */
const pageSize = 500;
/** Advances under way at a time, where the storage has no verb for many. */
const parallelAdvances = 100;
/** How often it looks for what others put, paused or left behind. */
const lookEveryMs = 1_000;
/** Between two ticks at least; due schedules that differ by less go together. */
const shortestPauseMs = 10;
/** No tick for so long, by any clock: this process was not there, and what came meanwhile fell into downtime. */
const absentMs = 60_000;
/** How long a schedule whose task the queue refuses is left alone. */
const asideMs = 60_000;
/** Schedules that this process cannot run and leaves alone. */
const maxAside = 10_000;
/** Who finds all its work done by others lets them go first by up to so long. */
const longestYieldMs = 250;
/** Pages of schedules whose next time is read at the start. */
const firstPages = 20;

/** Looks of one tick; what is left after so many, a catch-up of months, goes on in the next. */
const maxRounds = 1_000;

interface Plan {
  readonly schedule: StoredSchedule;
  readonly tasks: readonly NewTask[];
  readonly next: { readonly nextAt: number | null; readonly runs: number };
}

const tickers = new WeakMap<Runtime, ScheduleTicker>();

/** The ticker of a client. */
export function tickerOf(runtime: Runtime): ScheduleTicker {
  let ticker = tickers.get(runtime);
  if (ticker === undefined) tickers.set(runtime, (ticker = new ScheduleTicker(runtime)));
  return ticker;
}

/**
 * Enqueues what is due (`schedule-once`): first the tasks, under ids made of schedule and time, then the advance by compare-and-set, so that any
 * number of processes and crashes make one task per occurrence. Occurrences that come while it runs are all enqueued, however late it is itself.
 */
export class ScheduleTicker {
  readonly #runtime: Runtime;
  readonly #times: ScheduleTimes = new ScheduleTimes();
  /** Set aside: until when, by `Date.now()`, and at which revision. */
  readonly #aside: Map<string, { readonly revision: string; readonly until: number }> = new Map();
  #users = 0;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #ticking: Promise<number> | undefined;
  #failing = false;
  /** By the store's clock: from when on somebody was here. */
  #aliveSince = Number.POSITIVE_INFINITY;
  /** The latest attempt, by this process's clocks. */
  #tickedAt: { readonly wall: number; readonly steady: number } | undefined;
  /** The latest answer, by the store's clock and this process's. */
  #answeredAt: { readonly store: number; readonly wall: number } | undefined;
  /** Store's clock minus this process's. */
  #ahead = 0;
  #yieldMs = 0;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Ticks from now on; each `start` needs its own `stop`. */
  start(): void {
    this.#users += 1;
    this.#stopping = false;
    if (this.#users > 1 || this.#runtime.scheduleStorage === undefined) return;
    void this.#learn();
    this.#arm(Math.random() * shortestPauseMs);
  }

  /** Takes nothing new on. Resolves when the tick under way is over. */
  async stop(): Promise<void> {
    this.#users = Math.max(0, this.#users - 1);
    if (this.#users > 0) return;
    this.#stopping = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#ticking?.catch(() => undefined);
  }

  /** A schedule of this client comes at this time, by the store's clock. */
  expect(nextAt: number | null): void {
    if (nextAt === null) return;
    this.#times.add(nextAt);
    if (this.#timer !== undefined) this.#arm(this.#pause());
  }

  /** Enqueues all that is due. Rejects where the backend is away. Says how many tasks it enqueued. */
  tick(): Promise<number> {
    this.#ticking ??= this.#tick().finally(() => {
      this.#ticking = undefined;
    });
    return this.#ticking;
  }

  #arm(ms: number): void {
    const at = performance.now() + ms;
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => void this.#wake(), ms);
  }

  async #wake(): Promise<void> {
    const start = performance.now();
    try {
      await this.tick();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing && !isOmniQError(error, "OMNIQ_CLOSED") && this.#users > 0)
        this.#runtime.logger.warn("Schedules could not be looked at; it is tried again", { error });
      this.#failing = true;
    }
    this.#timer = undefined;
    if (this.#users === 0 || this.#runtime.closed.aborted) return;
    const took = Math.min(performance.now() - start, 250);
    this.#arm(this.#failing ? lookEveryMs : Math.max(this.#pause(), took) + Math.random() * this.#yieldMs);
  }

  /** Until the next time that is known, or the next look. */
  #pause(): number {
    // What has become due since the last look was not in it, so only what that look could give is forgotten.
    const next = this.#times.after(this.#answeredAt?.store ?? 0) - (Date.now() + this.#ahead);
    return Math.max(shortestPauseMs, Math.min(next + 1, lookEveryMs * (0.75 + Math.random() / 2)));
  }

  /** Reads when the schedules come that were there before this process. */
  async #learn(): Promise<void> {
    try {
      let cursor: string | undefined;
      for (let pages = 0; pages < firstPages; pages++) {
        const page = await this.#runtime.scheduleStorage?.list({ cursor, limit: pageSize });
        for (const { nextAt, paused } of page?.items ?? []) if (!paused) this.expect(nextAt);
        cursor = page?.next;
        if (cursor === undefined || this.#users === 0) return;
      }
    } catch {
      // What is not known is found by the look that comes every second.
    }
  }

  async #tick(): Promise<number> {
    const { scheduleStorage } = this.#runtime;
    if (scheduleStorage === undefined) return 0;
    const last = this.#tickedAt;
    const attempt = { wall: Date.now(), steady: performance.now() };
    this.#tickedAt = attempt;
    if (last === undefined || Math.max(attempt.wall - last.wall, attempt.steady - last.steady) > absentMs)
      this.#aliveSince = Number.POSITIVE_INFINITY;
    let enqueued = 0;
    for (let rounds = 0; rounds < maxRounds; rounds++) {
      const limit = pageSize + this.#aside.size;
      const { now, schedules } = await scheduleStorage.due(limit);
      this.#heard(now);
      const plans: Plan[] = [];
      for (const schedule of schedules) {
        if (this.#isAside(schedule)) continue;
        const plan = await this.#plan(schedule, now);
        if (plan !== undefined) plans.push(plan);
      }
      const done = await this.#run(plans);
      enqueued += done.enqueued;
      // A page that is not full was the last; one of which nothing could be done would come again and again.
      if ((schedules.length < limit && !done.behind) || !done.progress || this.#stopping) break;
    }
    return enqueued;
  }

  #heard(store: number): void {
    const wall = Date.now();
    const last = this.#answeredAt;
    // The store's clock has leapt: what it passed over is nobody's lateness.
    if (last !== undefined && store - last.store - (wall - last.wall) > absentMs) this.#aliveSince = store;
    this.#answeredAt = { store, wall };
    this.#ahead = store - wall;
    this.#aliveSince = Math.min(this.#aliveSince, store);
    this.#tickedAt = { wall, steady: performance.now() };
  }

  /** Enqueues and advances a page. */
  async #run(
    plans: readonly Plan[],
  ): Promise<{ readonly enqueued: number; readonly progress: boolean; readonly behind: boolean }> {
    if (plans.length === 0) return { enqueued: 0, progress: false, behind: false };
    // They ride together, in as few round trips as the queue allows.
    const outcomes = await Promise.allSettled(plans.map(async (plan) => await this.#enqueue(plan)));
    const accepted: Plan[] = [];
    let failure: unknown;
    let enqueued = 0;
    outcomes.forEach((outcome, index) => {
      const plan = plans[index] as Plan;
      if (outcome.status === "fulfilled") {
        accepted.push(plan);
        enqueued += plan.tasks.length;
      } else if (isOmniQError(outcome.reason) && (outcome.reason.retryable || outcome.reason.code === "OMNIQ_CLOSED")) {
        failure = outcome.reason;
      } else {
        this.#setAside(
          plan.schedule,
          outcome.reason,
          "The task of a schedule could not be enqueued; it is tried again",
        );
      }
    });
    const advanced = await this.#advance(accepted);
    if (failure !== undefined) throw failure;
    const own = advanced.filter(Boolean).length;
    this.#yieldMs =
      own * 2 < accepted.length ? Math.min(longestYieldMs, this.#yieldMs * 2 + 20) : Math.floor(this.#yieldMs / 2);
    const now = Date.now() + this.#ahead;
    let behind = false;
    accepted.forEach(({ next: { nextAt } }) => {
      if (nextAt === null) return;
      if (nextAt <= now) behind = true;
      else this.#times.add(nextAt);
    });
    return { enqueued, progress: accepted.length > 0, behind };
  }

  async #enqueue({ tasks }: Plan): Promise<void> {
    await Promise.all(tasks.map(async (task) => await this.#runtime.enqueuePrepared(task)));
  }

  async #advance(plans: readonly Plan[]): Promise<readonly boolean[]> {
    const { scheduleStorage } = this.#runtime;
    const all = plans.map(({ schedule: { id, revision }, next }) => ({ id, revision, next }));
    if (scheduleStorage?.advanceMany !== undefined) return await scheduleStorage.advanceMany(all);
    const answers: boolean[] = [];
    for (let at = 0; at < all.length; at += parallelAdvances) {
      const part = all.slice(at, at + parallelAdvances);
      const advanced = part.map(async ({ id, revision, next }) => await scheduleStorage?.advance(id, revision, next));
      for (const answer of await Promise.all(advanced)) answers.push(answer === true);
    }
    return answers;
  }

  /** What a due schedule asks for; nothing where it cannot be read, which is then no longer due. */
  async #plan(schedule: StoredSchedule, now: number): Promise<Plan | undefined> {
    const { id, nextAt, runs } = schedule;
    if (!Number.isSafeInteger(nextAt) || (nextAt as number) < 0 || (nextAt as number) > lastInstant) {
      await this.#pauseDamaged(schedule);
      return undefined;
    }
    try {
      const { rule, anchor } = decodeRule(schedule);
      const template = decodeTemplate(schedule);
      const due = decideDue(rule, nextAt as number, runs, now, anchor, this.#aliveSince);
      const tasks = due.occurrences.map((at) => ({
        ...template,
        id: occurrenceId(id, at, rule.at === undefined ? undefined : anchor),
        rememberMs: atLeastResult(rememberGivenMs, template.resultTtlMs),
      }));
      return { schedule, tasks, next: { nextAt: due.nextAt, runs: due.runs } };
    } catch (error) {
      if (isNewer(schedule))
        this.#setAside(schedule, error, "A schedule is of a newer version of OmniQ; processes of that version run it");
      else await this.#pauseDamaged(schedule);
      return undefined;
    }
  }

  /** Paused, it is due no more and hides no other. Who writes it says so; the others find it paused. */
  async #pauseDamaged(schedule: StoredSchedule): Promise<void> {
    const { id, rule, template, nextAt, runs, revision } = schedule;
    const error = problemOf(schedule);
    try {
      const put = { id, rule, template, nextAt, runs, paused: true };
      const written = await this.#runtime.scheduleStorage?.put(put, revision);
      if (written !== undefined)
        this.#runtime.logger.error(
          "A schedule cannot be read and was paused; put it again or delete it with schedules.delete",
          { scheduleId: id, error },
        );
    } catch (failure) {
      if (isOmniQError(failure) && failure.retryable) throw failure;
      this.#setAside(schedule, error ?? failure, "A schedule cannot be read; delete it with schedules.delete");
    }
  }

  #isAside({ id, revision }: StoredSchedule): boolean {
    const aside = this.#aside.get(id);
    if (aside === undefined) return false;
    if (aside.revision === revision && aside.until > Date.now()) return true;
    this.#aside.delete(id);
    return false;
  }

  #setAside({ id, revision }: StoredSchedule, error: unknown, message: string): void {
    this.#runtime.logger.error(message, { scheduleId: id, error });
    if (this.#aside.size >= maxAside) this.#aside.clear();
    this.#aside.set(id, { revision, until: Date.now() + asideMs });
  }
}
