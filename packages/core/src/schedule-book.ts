// The schedules of a client: put, look, pause, resume, run now, delete, all by compare-and-set.
import type { NewSchedule, ScheduleStorage, StoredSchedule } from "./contracts/index.ts";
import { rememberGeneratedMs } from "./enqueue-prepare.ts";
import { OmniQError } from "./errors.ts";
import { checkKey, describeType } from "./limits.ts";
import type { Runtime } from "./runtime.ts";
import { nextOccurrence, parseRule } from "./schedule-rule.ts";
import { decodeRule, decodeTemplate, encodeRule, encodeTemplate, problemOf } from "./schedule-storage-text.ts";
import { tickerOf } from "./schedule-ticker.ts";
import type { Schedule, ScheduleOptions, Schedules } from "./schedule.ts";
import type { TaskEnqueueOptions } from "./options.ts";
import { newId } from "./task-id.ts";

/** Writers of one schedule are few; who loses this often against others is told to try again. */
const maxConflicts = 50;

/** One client's view of the schedule storage. */
export class ScheduleBook implements Schedules {
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  async put(id: string, options: ScheduleOptions): Promise<Schedule> {
    const storage = this.#storage();
    const rule = parseRule(id, options);
    const where = `of schedule ${JSON.stringify(id)}`;
    if (typeof options.task !== "object" || options.task === null) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `task ${where} must be a call (task.with(...)), not ${describeType(options.task)}`,
      );
    }
    const given = (options.task.options ?? {}) as TaskEnqueueOptions & { dependsOn?: unknown };
    for (const key of ["id", "runAt", "expiresAt", "after", "dependsOn"] as const) {
      if (given[key] !== undefined)
        throw new OmniQError(
          "OMNIQ_INVALID_OPTION",
          `The task ${where} cannot have ${key}: it is enqueued again and again`,
        );
    }
    const template = encodeTemplate(await this.#runtime.prepare(options.task));
    return await this.#change(storage, id, async (stored) => {
      const old = stored && ruleOf(stored);
      // One time that has come is over; who puts it again wants it again.
      const isOver = rule.at !== undefined && stored?.nextAt === null;
      if (stored && old && !isOver && encodeRule(rule, old.anchor) === stored.rule) return { ...stored, template };
      const { now } = await storage.due(1);
      // One time that has passed is due at once; what is missed is for the rule's own policy to say.
      const nextAt = rule.at !== undefined ? nextOccurrence(rule, rule.at - 1, now) : nextOccurrence(rule, now, now);
      return { id, rule: encodeRule(rule, now), template, nextAt, runs: 0, paused: stored?.paused ?? false };
    });
  }

  async get(id: string): Promise<Schedule | undefined> {
    checkKey("The id of a schedule", id);
    const [stored] = await this.#storage().get([id]);
    return stored && view(stored);
  }

  async *list(): AsyncIterable<Schedule> {
    const storage = this.#storage();
    let cursor: string | undefined;
    do {
      const page = await storage.list({ cursor });
      for (const stored of page.items) yield view(stored);
      cursor = page.next;
    } while (cursor !== undefined);
  }

  async pause(id: string): Promise<void> {
    await this.#change(this.#storage(), id, (stored) => ({ ...this.#found(id, stored), paused: true }));
  }

  async resume(id: string): Promise<void> {
    const storage = this.#storage();
    await this.#change(storage, id, async (given) => {
      const stored = this.#found(id, given);
      if (!stored.paused || stored.nextAt === null) return { ...stored, paused: false };
      const { rule, anchor } = decodeRule(stored);
      const { now } = await storage.due(1);
      const nextAt = stored.nextAt > now || rule.at !== undefined ? stored.nextAt : nextOccurrence(rule, now, anchor);
      return { ...stored, paused: false, nextAt };
    });
  }

  async runNow(id: string): Promise<string> {
    checkKey("The id of a schedule", id);
    const [stored] = await this.#storage().get([id]);
    const template = decodeTemplate(this.#found(id, stored));
    const taskId = newId();
    await this.#runtime.enqueuePrepared({ ...template, id: taskId, rememberMs: rememberGeneratedMs });
    return taskId;
  }

  async delete(id: string): Promise<boolean> {
    checkKey("The id of a schedule", id);
    return (await this.#storage().delete([id]))[0] ?? false;
  }

  /** Reads, changes and writes back, until nobody else wrote in between. */
  async #change(
    storage: ScheduleStorage,
    id: string,
    change: (stored: StoredSchedule | undefined) => NewSchedule | Promise<NewSchedule>,
  ): Promise<Schedule> {
    checkKey("The id of a schedule", id);
    for (let conflicts = 0; conflicts < maxConflicts; conflicts++) {
      const [stored] = await storage.get([id]);
      const { rule, template, nextAt, runs, paused } = await change(stored);
      const written = await storage.put({ id, rule, template, nextAt, runs, paused }, stored?.revision ?? null);
      if (written) {
        if (!written.paused) tickerOf(this.#runtime).expect(written.nextAt);
        return view(written);
      }
    }
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `The schedule ${JSON.stringify(id)} is being changed by others all the time; try again`,
      { retryable: true },
    );
  }

  #found(id: string, stored: StoredSchedule | undefined): StoredSchedule {
    if (stored) return stored;
    throw new OmniQError(
      "OMNIQ_SCHEDULE_NOT_FOUND",
      `There is no schedule ${JSON.stringify(id)}; make it with schedules.put`,
    );
  }

  #storage(): ScheduleStorage {
    const { scheduleStorage } = this.#runtime;
    if (scheduleStorage) return scheduleStorage;
    throw new OmniQError(
      "OMNIQ_UNSUPPORTED",
      "This client has no schedule storage; give it one with `scheduleStorage`",
    );
  }
}

function ruleOf(stored: StoredSchedule): ReturnType<typeof decodeRule> | undefined {
  try {
    return decodeRule(stored);
  } catch {
    // What cannot be read is replaced.
    return undefined;
  }
}

function view(stored: StoredSchedule): Schedule {
  const { id, nextAt, runs, paused } = stored;
  const problem = problemOf(stored);
  if (problem !== undefined) return { id, taskName: nameOf(stored), nextAt, runs, paused, problem };
  return { id, taskName: decodeTemplate(stored).name, nextAt, runs, paused };
}

function nameOf(stored: StoredSchedule): string {
  try {
    return decodeTemplate(stored).name;
  } catch {
    return "";
  }
}
