// Schedules as a whole: nothing is lost while somebody is there, damaged ones hold up nothing, and stored texts are read by total functions.
import { expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { OmniQ, defineTask, isOmniQError, typeOnly, type Logger } from "@omniq/core";
import { mutateText, seededRandom } from "../../conformance/src/damage/mutate.ts";
import { decodeEnvelope, encodeEnvelope } from "../src/envelope.ts";
import { decideDue } from "../src/schedule-rule.ts";
import { decodeRule, decodeTemplate, encodeRule, encodeTemplate } from "../src/schedule-storage-text.ts";
import { ScheduleTimes } from "../src/schedule-times.ts";
import { mutationCount } from "./hostile-errors.ts";

const ping = defineTask({ name: "ping", input: typeOnly<number>(), run: () => undefined });

function stand(): {
  omniq: OmniQ;
  now: number;
  lines: { message: string; fields: Readonly<Record<string, unknown>> | undefined }[];
} {
  const lines: { message: string; fields: Readonly<Record<string, unknown>> | undefined }[] = [];
  const note = (message: string, fields?: Readonly<Record<string, unknown>>): void =>
    void lines.push({ message, fields });
  const logger: Logger = { debug: () => undefined, info: () => undefined, warn: note, error: note };
  const one = { now: 1e12, lines } as ReturnType<typeof stand>;
  one.omniq = new OmniQ({ taskQueue: memory({ now: () => one.now }), logger });
  return one;
}

test("what comes while a scheduler is there is all enqueued, however late it is: by every policy", async () => {
  for (const missed of ["latest", "skip", "all"] as const) {
    const one = stand();
    const scheduler = one.omniq.scheduler();
    for (let index = 0; index < 30; index++)
      await one.omniq.schedules.put(`s${index}`, { everyMs: 1_000, missed, task: ping.with(index) });
    await scheduler.tick();
    // A scheduler that was busy for half a minute.
    one.now += 30_000;
    expect(await scheduler.tick(), missed).toBe(30 * 30);
    expect((await one.omniq.schedules.get("s3"))?.runs).toBe(30);
    await one.omniq.close();
  }
});
test("what came when nobody was there is for the policy to say", async () => {
  const expected = { latest: 1, skip: 61, all: 600 };
  for (const missed of ["latest", "skip", "all"] as const) {
    const one = stand();
    await one.omniq.schedules.put("s", { everyMs: 1_000, missed, task: ping.with(1) });
    one.now += 600_000;
    expect(await one.omniq.scheduler().tick(), missed).toBe(expected[missed]);
    await one.omniq.close();
  }
});
test("more due schedules than one look gives are all run in one tick", async () => {
  const one = stand();
  const ids = Array.from({ length: 1_203 }, (_, index) => `s${index}`);
  await Promise.all(ids.map((id, index) => one.omniq.schedules.put(id, { everyMs: 1_000, task: ping.with(index) })));
  one.now += 1_000;
  expect(await one.omniq.scheduler().tick()).toBe(1_203);
  await one.omniq.close();
});
test("several schedulers enqueue each occurrence once", async () => {
  let now = 1e12;
  const backend = memory({ now: () => now });
  const clients = [0, 1, 2].map(() => new OmniQ({ taskQueue: backend }));
  const first = clients[0] as OmniQ;
  for (let index = 0; index < 50; index++)
    await first.schedules.put(`s${index}`, { everyMs: 1_000, task: ping.with(index) });
  for (let round = 0; round < 5; round++) {
    now += 1_000;
    await Promise.all(clients.map(async (client) => await client.scheduler().tick()));
  }
  expect((await first.queue("default").counts()).ready).toBe(250);
  for (const client of clients) await client.close();
});
test("a scheduler wakes when a schedule is due, not at its next look", async () => {
  const omniq = new OmniQ({ taskQueue: memory() });
  const scheduler = omniq.scheduler();
  await scheduler.start();
  const late: number[] = [];
  for (let round = 0; round < 6; round++) {
    const at = Date.now() + 200;
    await omniq.schedules.put(`once${round}`, { at, task: ping.with(round) });
    for (;;) {
      if ((await omniq.schedules.get(`once${round}`))?.nextAt === null) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    late.push(Date.now() - at);
  }
  // Looks are at least 750 ms apart: six waits that fall just before one by chance are none.
  expect(Math.max(...late.toSorted((a, b) => a - b).slice(0, 4))).toBeLessThan(400);
  await omniq.close();
});
test("a schedule of one time that has come runs again when it is put again, or deleted and put", async () => {
  const one = stand();
  const { schedules } = one.omniq;
  const at = one.now + 1_000;
  const put = async (): Promise<void> => void (await schedules.put("once", { at, task: ping.with(1) }));
  await put();
  // Before its time, a second put changes nothing.
  await put();
  one.now += 1_000;
  expect(await one.omniq.scheduler().tick()).toBe(1);
  one.now += 5;
  await put();
  expect(await one.omniq.scheduler().tick()).toBe(1);
  await schedules.delete("once");
  one.now += 5;
  await put();
  expect(await one.omniq.scheduler().tick()).toBe(1);
  expect((await one.omniq.queue("default").counts()).ready).toBe(3);
  await one.omniq.close();
});
test("damaged schedules are listed with a problem, never due, removable, told by one line each; others run", async () => {
  const one = stand();
  const { schedules, components } = one.omniq;
  const storage = components.scheduleStorage!;
  await schedules.put("good", { everyMs: 1_000, task: ping.with(1) });
  const good = (await storage.get(["good"]))[0]!;
  const spoilt: Record<string, { rule?: string; template?: string; nextAt?: number }> = {
    negative: { rule: JSON.stringify({ version: 1, everyMs: -1, missed: "all", anchor: 0 }) },
    zero: { rule: JSON.stringify({ version: 1, everyMs: 0, missed: "latest", anchor: 0 }) },
    "no-json": { rule: "{" },
    "no-task": { template: "null" },
    "bad-name": { template: JSON.stringify({ ...JSON.parse(good.template), name: "" }) },
    "ended-long-ago": {
      rule: JSON.stringify({ version: 1, cron: "* * * * * *", timeZone: "UTC", missed: "latest", anchor: -5 }),
    },
    "bad-cron": { rule: JSON.stringify({ version: 1, cron: "x".repeat(5_000), missed: "all", anchor: 0 }) },
  };
  for (const [id, what] of Object.entries(spoilt))
    await storage.put({ ...good, id, nextAt: one.now, runs: 0, ...what }, null);
  one.now += 1_000;
  const scheduler = one.omniq.scheduler();
  expect(await scheduler.tick()).toBe(1);
  expect(await scheduler.tick()).toBe(0);
  expect(one.lines.map(({ fields }) => fields?.["scheduleId"]).toSorted()).toEqual(Object.keys(spoilt).toSorted());
  expect((await storage.due(100)).schedules).toEqual([]);
  const listed = new Map<string, unknown>();
  for await (const schedule of schedules.list()) listed.set(schedule.id, schedule.problem);
  expect(listed.get("good")).toBeUndefined();
  for (const id of Object.keys(spoilt)) {
    expect(isOmniQError(listed.get(id), "OMNIQ_ITEM_DAMAGED"), id).toBe(true);
    if (spoilt[id]?.rule === undefined)
      await expect(schedules.runNow(id)).rejects.toMatchObject({ code: "OMNIQ_ITEM_DAMAGED" });
    else await expect(schedules.resume(id)).rejects.toMatchObject({ code: "OMNIQ_ITEM_DAMAGED" });
    expect(await schedules.delete(id)).toBe(true);
  }
  await storage.put({ ...good, id: "mended", rule: "damaged" }, null);
  expect((await schedules.put("mended", { everyMs: 1_000, task: ping.with(1) })).problem).toBeUndefined();
  await one.omniq.close();
});
test("a schedule of a newer version is left to processes of that version", async () => {
  const one = stand();
  const storage = one.omniq.components.scheduleStorage!;
  await one.omniq.schedules.put("good", { everyMs: 1_000, task: ping.with(1) });
  const good = (await storage.get(["good"]))[0]!;
  await storage.put({ ...good, id: "newer", rule: JSON.stringify({ version: 2, moon: "full" }) }, null);
  one.now += 1_000;
  const scheduler = one.omniq.scheduler();
  expect(await scheduler.tick()).toBe(1);
  one.now += 1_000;
  expect(await scheduler.tick()).toBe(1);
  expect((await one.omniq.schedules.get("newer"))?.paused).toBe(false);
  expect(one.lines).toHaveLength(1);
  await one.omniq.close();
});

const template = encodeTemplate({
  id: "t",
  name: "ping",
  queue: "default",
  payload: "1",
  envelope: "{}",
  priority: 1,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 1,
  delayMs: 5,
  expiresInMs: 5,
  deduplicate: { key: "k", mode: "replace", windowMs: 5 },
  group: { key: "g", limit: 3 },
});
const rules = [
  encodeRule({ cron: "*/5 * * * * *", timeZone: "Europe/Vienna", missed: "latest", maxRuns: 9, endAt: 5e12 }, 1e12),
  encodeRule({ everyMs: 1_000, startAt: 1e11, endAt: 2e12, missed: "skip" }, 1e12),
  encodeRule({ at: 1e12, missed: "all" }, 1e12),
  encodeRule({ everyMs: 90_000, missed: "all" }, 1e12),
];
test("damaged rules: refused as damaged or within bounds, and decided in little time", () => {
  const random = seededRandom(172);
  let longest = 0;
  for (let index = 0; index < mutationCount; index++) {
    const { does, value } = mutateText(rules[index % rules.length] as string, random);
    const start = performance.now();
    try {
      const { rule, anchor } = decodeRule({ id: "s", rule: value });
      const nextAt = [0, 1e12, 8.64e15][index % 3] as number;
      const due = decideDue(rule, nextAt, 0, 1.9e12, anchor, index % 2 === 0 ? 1.9e12 : 1.8e12);
      expect(due.occurrences.length, does).toBeLessThanOrEqual(100);
    } catch (error) {
      if (!isOmniQError(error, "OMNIQ_ITEM_DAMAGED")) throw new Error(`${does}: ${String(error)}`, { cause: error });
    }
    longest = Math.max(longest, performance.now() - start);
  }
  // A loop over what a damaged rule asks for would take minutes.
  expect(longest).toBeLessThan(5_000);
});
test.each<[string, string, (text: string) => unknown]>([
  ["templates", template, (text) => decodeTemplate({ id: "s", template: text })],
  [
    "envelopes",
    encodeEnvelope({
      retry: { backoff: "linear", delayMs: 5, factor: 2, maxDelayMs: 500, jitter: 0.5 },
      timeoutMs: 1_000,
      headers: { trace: "t" },
      slots: { one: "a", many: ["b", "c"] },
    }),
    decodeEnvelope,
  ],
])("damaged %s: refused as damaged, or every number within its bounds", (_name, text, decode) => {
  const random = seededRandom(173);
  let refused = 0;
  const walk = (value: unknown): void => {
    if (typeof value === "number" && !(Math.abs(value) <= 3_155_760_000_000)) throw new Error(`a number of ${value}`);
    if (typeof value === "object" && value !== null) for (const one of Object.values(value)) walk(one);
  };
  for (let index = 0; index < mutationCount; index++) {
    const { does, value } = mutateText(text, random);
    try {
      walk(decode(value));
    } catch (error) {
      if (!isOmniQError(error, "OMNIQ_ITEM_DAMAGED")) throw new Error(`${does}: ${String(error)}`, { cause: error });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(mutationCount / 4);
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  expect(decode(text)).toBeDefined();
});
test("times come back in order", () => {
  const times = new ScheduleTimes();
  const random = seededRandom(5);
  const given = Array.from({ length: 2_000 }, () => Math.floor(random() * 1_000));
  for (const time of given) times.add(time);
  const seen: number[] = [];
  for (let now = -1; ;) {
    now = times.after(now);
    if (now === Number.POSITIVE_INFINITY) break;
    seen.push(now);
  }
  expect(seen).toEqual([...new Set(given)].toSorted((a, b) => a - b));
});
