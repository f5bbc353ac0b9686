// What stands in the log and is no commit, or not any more: all processes agree on it, say so once, and go on.
import { mutateBytes, seededRandom } from "@omniq/conformance";
import { encodeCommit } from "@omniq/replica";
import { describe, expect, test } from "vitest";
import { MemoryObjects } from "@omniq/file";
import { copyOf, drain, fill, logKey, open, refusal, task, type Process } from "./damaged.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textAt = (objects: MemoryObjects, key: string): string =>
  new TextDecoder().decode((objects.get(key) as { body: Uint8Array }).body);
const ids = (...numbers: readonly number[]): string[] => numbers.map((n) => `t${n}`).sort();
const enqueue = (process: Process, id: string) =>
  process.replica.execute([{ verb: "enqueue", calls: [{ tasks: [task(id)] }] }]);
async function together(objects: MemoryObjects, count: number): Promise<Process[]> {
  return await Promise.all(Array.from({ length: count }, () => open(objects)));
}

describe("an object in the log that is no commit is void, for everyone", () => {
  const foreign: readonly (readonly [string, (objects: MemoryObjects) => Uint8Array])[] = [
    ["a text", () => bytes("hello\n")],
    ["nothing", () => bytes("")],
    ["a torn commit", (objects) => bytes(textAt(objects, logKey(3)).slice(0, -20))],
    ["the commit of another position", (objects) => bytes(textAt(objects, logKey(2)))],
    [
      "the commit of another log",
      () => bytes(encodeCommit({ id: "foreign", sequence: 4, previous: "else", at: 1, requests: [] })),
    ],
    [
      "a commit of the day after tomorrow",
      (objects) => {
        const { id } = JSON.parse(textAt(objects, logKey(3)).slice(25)) as { id: string };
        const at = Date.now() + 2 * 86_400_000;
        return bytes(encodeCommit({ id: "later", sequence: 4, previous: id, at, requests: [] }));
      },
    ],
  ];
  test.each(foreign)("%s at the next position", async (_, make) => {
    const objects = await fill(3);
    const before = await open(objects);
    objects.write(logKey(4), make(objects));
    const [one, two] = (await together(objects, 2)) as [Process, Process];
    await Promise.all([enqueue(one, "t5"), enqueue(two, "t6"), enqueue(before, "t7")]);
    for (const { replica } of [one, two, before]) await replica.execute([{ verb: "counts" }]);
    const late = await open(objects);
    const [first, ...others] = [one, two, before, late].map(({ replica }) => replica.encode());
    for (const other of others) expect(other).toBe(first);
    for (const { reports } of [one, two, before, late]) {
      expect(reports.filter(({ level }) => level === "error")).toEqual([
        {
          level: "error",
          message: expect.stringContaining(`${logKey(4)} is void`),
          fields: { position: 4, name: logKey(4) },
        },
      ]);
    }
    expect(await drain(late)).toEqual(ids(1, 2, 3, 5, 6, 7));
    for (const process of [one, two, before, late]) await process.close();
  });

  test("the follower decides: who held a commit for valid learns that it is void, and the other way round", async () => {
    let now = Date.now();
    const objects = new MemoryObjects(() => now);
    const first = await open(objects);
    await enqueue(first, "t1");
    const { id } = JSON.parse(textAt(objects, logKey(1)).slice(25)) as { id: string };
    const at = now + 2 * 86_400_000;
    const operations = [{ verb: "enqueue", calls: [{ tasks: [task("t2")] }] }] as const;
    const body = encodeCommit({ id: "ahead", sequence: 2, previous: id, at, requests: [{ n: 1, operations }] });
    objects.write(logKey(2), bytes(body));
    await enqueue(first, "t3");
    // Two days later the time is not ahead any more; but it was for who wrote behind it.
    now += 3 * 86_400_000;
    const late = await open(objects);
    expect([...late.replica.view().tasks.keys()].sort()).toEqual(ids(1, 3));
    // Here it was held for valid by who wrote behind it.
    const other = new MemoryObjects(() => now - 3 * 86_400_000);
    other.write(logKey(1), bytes(textAt(objects, logKey(1))));
    other.write(logKey(2), bytes(body));
    const next = { id: "next", sequence: 3, previous: "ahead", at, requests: [] };
    other.write(logKey(3), bytes(encodeCommit(next)));
    const early = await open(other);
    expect([...early.replica.view().tasks.keys()].sort()).toEqual(ids(1, 2));
    expect(early.reports).toHaveLength(1);
    for (const process of [first, late, early]) await process.close();
  });
});

describe("a commit that was valid once and is damaged", () => {
  test("refuses who can't read it, by name; who has the state goes on, and its next checkpoint mends it", async () => {
    const objects = await fill(6);
    const before = await open(objects, 4_000);
    objects.write(logKey(4), bytes(textAt(objects, logKey(4)).replace("payload 4", "payload 5")));
    expect(await refusal(open(objects))).toMatchObject({
      code: "OMNIQ_BACKEND_FAILED",
      message: expect.stringContaining(logKey(4)),
    });
    for (let n = 7; n <= 20; n++) await enqueue(before, `t${n}`);
    await before.close();
    const late = await open(objects);
    expect(await drain(late)).toHaveLength(20);
    await late.close();
  });

  test("a follower that meets it looks seldom", async () => {
    const objects = await fill(3);
    const process = await open(objects);
    let reads = 0;
    const get = objects.get.bind(objects);
    objects.get = (key) => {
      reads++;
      return get(key);
    };
    objects.write(logKey(4), bytes("1 AAAAAAAAAAAAAAAAAAAAAA {}"));
    const commit = { id: "next", sequence: 5, previous: "a commit", at: 1, requests: [] };
    objects.write(logKey(5), bytes(encodeCommit(commit)));
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    // Each look opens the log anew: some reads a second, not thousands.
    expect(reads).toBeLessThan(150);
    await expect(process.replica.execute([{ verb: "counts" }])).rejects.toMatchObject({
      message: expect.stringContaining(logKey(4)),
    });
    await process.close();
  });

  test("is left out once an operator says that it is void, and read once it is restored, without a restart", async () => {
    const objects = await fill(6);
    const whole = textAt(objects, logKey(4));
    objects.write(logKey(4), bytes(whole.slice(1)));
    await refusal(open(objects));
    const declared = copyOf(objects);
    declared.write(logKey(4), bytes("void\n"));
    const one = await open(declared);
    expect(await drain(one)).toEqual(ids(1, 2, 3, 5, 6));
    const two = await open(declared);
    expect(two.replica.encode()).toBe(one.replica.encode());
    await one.close();
    await two.close();

    const following = await open(copyOf(objects)).catch(() => undefined);
    expect(following).toBeUndefined();
    objects.write(logKey(4), bytes(whole));
    const mended = await open(objects);
    expect(await drain(mended)).toEqual(ids(1, 2, 3, 4, 5, 6));
    await mended.close();
  });
});

describe("checkpoints", () => {
  const names = (objects: MemoryObjects, prefix: string): string[] =>
    objects.keys().filter((key) => key.startsWith(prefix));
  test("where the newest is damaged, in its manifest or a part, the one before stands in", async () => {
    const objects = await fill(40, 1_500);
    const manifests = names(objects, "checkpoint/");
    expect(manifests.length).toBeGreaterThan(1);
    const newest = manifests.at(-1) as string;
    const part = names(objects, `part/${newest.slice(11)}`)[0] as string;
    const fresh = await open(objects);
    for (const key of [newest, part]) {
      for (const body of [bytes("{}"), bytes(`${textAt(objects, key).slice(1)}`)]) {
        const damaged = copyOf(objects);
        damaged.write(key, body);
        const process = await open(damaged);
        expect(process.replica.encode()).toBe(fresh.replica.encode());
        expect(process.reports).toContainEqual({
          level: "error",
          message: expect.stringContaining(key),
          fields: expect.anything(),
        });
        await process.close();
      }
    }
    await fresh.close();
  });
  test("where two are damaged, the process refuses and names what is", async () => {
    const objects = await fill(40, 1_500);
    for (const key of names(objects, "part/")) objects.write(key, bytes("damaged"));
    expect(await refusal(open(objects))).toMatchObject({
      code: "OMNIQ_BACKEND_FAILED",
      message: expect.stringMatching(/part\/.* is damaged/),
    });
  });
  test("what stands under the name of a checkpoint and is none deletes nothing, and makes nobody read for ever", async () => {
    const objects = await fill(10);
    for (const name of ["500", "600", "9007199254740991", "99999999999999999999"])
      objects.write(`checkpoint/${name.padStart(20, "0")}`, bytes('{"format":1,"position":500,"parts":[]}'));
    objects.write(`checkpoint/${"700".padStart(20, "0")}`, bytes("not JSON"));
    const process = await open(objects, 500);
    for (let n = 11; n <= 40; n++) await enqueue(process, `t${n}`);
    const late = await open(objects);
    expect(late.replica.encode()).toBe(process.replica.encode());
    expect((await drain(late)).length).toBe(40);
    await process.close();
    await late.close();
  });
});

/** `OMNIQ_TEST_MUTATIONS=10000` runs them all. */
const mutations = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 400);
test(`${mutations} mutations of commits, manifests and parts: nothing ends or spins, and every undamaged task is done`, async () => {
  const worlds = [await fill(12), await fill(25, 1_500)];
  const counts = [12, 25];
  const tally = { void: 0, refused: 0, harmless: 0, checkpoints: 0 };
  for (let seed = 1; seed <= mutations; seed++) {
    const random = seededRandom(seed);
    const which = seed % worlds.length;
    const objects = copyOf(worlds[which] as MemoryObjects);
    const keys = objects.keys().filter((key) => /^(log|checkpoint|part)\//.test(key));
    const key = keys[Math.floor(random() * keys.length)] as string;
    const { does, value } = mutateBytes((objects.get(key) as { body: Uint8Array }).body, random);
    objects.write(key, value);
    const what = `seed ${seed}: ${key} ${does}`;
    let opened = await open(objects).catch((error: unknown) => error);
    if (opened instanceof Error) {
      expect({ what, error: opened }).toMatchObject({
        error: { code: "OMNIQ_BACKEND_FAILED", message: expect.stringContaining(key) },
      });
      expect(key.startsWith("log/"), what).toBe(true);
      objects.write(key, bytes("void"));
      tally.refused++;
      opened = await open(objects);
    } else if (key.startsWith("log/")) tally[(opened as Process).reports.length > 0 ? "void" : "harmless"]++;
    else tally.checkpoints++;
    const process = opened as Process;
    const damaged = key.startsWith("log/") ? Number(key.slice(4)) : 0;
    const done = await drain(process);
    const wanted = ids(...Array.from({ length: counts[which] as number }, (_, n) => n + 1));
    // What the damaged commit held may be gone; where a checkpoint holds it, or it can still be read, it is not.
    expect({ what, done: done.filter((id) => id !== `t${damaged}`) }).toEqual({
      what,
      done: wanted.filter((id) => id !== `t${damaged}`),
    });
    await process.close();
  }
  if (mutations > 400) console.log(tally);
  expect(tally.void + tally.refused).toBeGreaterThan(mutations / 10);
  expect(Object.prototype).not.toHaveProperty("polluted");
}, 600_000);
