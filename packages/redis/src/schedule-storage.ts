// The schedule storage on Redis: hashes by id, changed by compare-and-set on a random revision.
import { randomBytes } from "node:crypto";
import type {
  CallOptions,
  ComponentCapabilities,
  NewSchedule,
  Page,
  PageRequest,
  ScheduleStorage,
  StoredSchedule,
} from "@omniq/core";
import type { Connection } from "./connection.ts";
import type { DamageReports } from "./damage-reports.ts";
import { Lifetime } from "./lifetime.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";

type Row = readonly [id: string, text: string, revision: string, next: string, paused: string];

export class RedisScheduleStorage implements ScheduleStorage {
  readonly component = "schedule-storage" as const;
  readonly backend: object;
  readonly capabilities: ComponentCapabilities;
  readonly #connection: Connection;
  readonly #damage: DamageReports;
  readonly #life: Lifetime;

  constructor(
    backend: object,
    connection: Connection,
    damage: DamageReports,
    capabilities: ComponentCapabilities,
    onClose: () => Promise<void>,
  ) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#connection = connection;
    this.#damage = damage;
    this.#life = new Lifetime("schedule storage", onClose);
  }

  async put(
    schedule: NewSchedule,
    revision: string | null | undefined,
    options: CallOptions = {},
  ): Promise<StoredSchedule | undefined> {
    this.#life.check(options.signal);
    const { id, rule, template, nextAt, runs, paused } = schedule;
    const next = newRevision();
    const condition = revision === undefined ? "?" : revision === null ? "-" : `=${revision}`;
    const text = JSON.stringify([rule, template]);
    const args = [id, condition, next, nextAt ?? "", paused ? 1 : 0, text, runs];
    const stored = await this.#connection.write<number>("putSchedule", args);
    return stored === 1 ? { id, rule, template, nextAt, runs, paused, revision: next } : undefined;
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredSchedule | undefined)[]> {
    this.#life.check(options.signal);
    if (ids.length === 0) return [];
    const rows = await this.#connection.run<readonly (Row | 0)[]>("getSchedules", ids);
    return rows.map((row) => (row === 0 ? undefined : this.#read(row)));
  }

  async list(page: PageRequest, options: CallOptions = {}): Promise<Page<StoredSchedule>> {
    this.#life.check(options.signal);
    const key = listKey("s", {});
    const { limit, after } = readPage(key, page);
    const from = after === undefined ? "-" : `(${after}`;
    const rows = await this.#connection.run<readonly (Row | 0)[]>("listSchedules", [from, limit + 1]);
    const found = rows.flatMap((row) => (row === 0 ? [] : [this.#read(row)]));
    const items = found.slice(0, limit);
    const last = items.at(-1);
    return found.length > limit && last !== undefined ? { items, next: writeCursor(key, last.id) } : { items };
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<readonly boolean[]> {
    this.#life.check(options.signal);
    if (ids.length === 0) return [];
    const gone = await this.#connection.run<readonly number[]>("deleteSchedules", ids);
    return gone.map((one) => one === 1);
  }

  async due(
    limit: number,
    options: CallOptions = {},
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }> {
    this.#life.check(options.signal);
    type Answer = readonly [now: string, ids: readonly string[], rows: readonly (Row | 0)[]];
    for (;;) {
      const [now, ids, rows] = await this.#connection.run<Answer>("dueSchedules", [limit]);
      const schedules = rows.map((row) => (row === 0 ? undefined : readSchedule(row)));
      const odd = ids.filter((_id, index) => schedules[index] === undefined);
      if (odd.length === 0) return { now: Number(now), schedules: schedules.filter((one) => one !== undefined) };
      // What cannot be read stands in nobody's way.
      for (const [index, row] of rows.entries())
        if (row !== 0 && schedules[index] === undefined) this.#damage.tell("schedule", row[0]);
      await this.#connection.run("parkSchedules", odd);
    }
  }

  async advance(
    id: string,
    revision: string,
    next: { readonly nextAt: number | null; readonly runs: number },
    options: CallOptions = {},
  ): Promise<boolean> {
    this.#life.check(options.signal);
    const args = [id, revision, newRevision(), next.nextAt ?? "", next.runs];
    return (await this.#connection.write<number>("advanceSchedule", args)) === 1;
  }

  #read(row: Row): StoredSchedule {
    const schedule = readSchedule(row);
    if (schedule === undefined) this.#damage.tell("schedule", row[0]);
    return schedule ?? damaged(row);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What is shown of a schedule that cannot be read. */
function damaged([id, , revision]: Row): StoredSchedule {
  return { id, rule: "", template: "", nextAt: null, runs: 0, paused: true, revision };
}

/** Random, so that a schedule that was deleted and made anew never has an old one's revision. */
function newRevision(): string {
  return randomBytes(9).toString("base64url");
}

/** Nothing where it cannot be read. */
function readSchedule([id, text, revision, next, paused]: Row): StoredSchedule | undefined {
  const [rule, template] = parsedPair(text);
  const [nextAt = "", runs = ""] = next.split(" ");
  const numbers = runs !== "" && [nextAt, runs].every((one) => Number.isSafeInteger(Number(one)));
  if (typeof rule !== "string" || typeof template !== "string" || !numbers || !/^[01]$/u.test(paused)) return undefined;
  return {
    id,
    rule,
    template,
    nextAt: nextAt === "" ? null : Number(nextAt),
    runs: Number(runs),
    paused: paused === "1",
    revision,
  };
}

function parsedPair(text: string): readonly unknown[] {
  try {
    const pair = JSON.parse(text) as unknown;
    return Array.isArray(pair) ? pair : [];
  } catch {
    return [];
  }
}
