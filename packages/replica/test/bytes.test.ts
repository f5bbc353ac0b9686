// Batches, commits and checkpoints are bounded by bytes: what is too large for one goes in several, or is refused by an error that names the limit.
import type { NewEvent } from "@omniq/core";
import { expect, it } from "vitest";
import { decodePieces, encodeCommit, encodePieces, Machine, MemoryLog, MemoryLogStore, Replica } from "../src/index.ts";
import { cutCommand, joinAnswers, sizeOf } from "../src/riders.ts";
import { task } from "./fixtures.ts";

const mib = 1_048_576;

it("outputs of 13 MB that are settled at once go into several commits, each in its place, and none ends the process", async () => {
  const store = new MemoryLogStore();
  const replica = await Replica.open(new MemoryLog(store), { resendMs: 1, checkpointBytes: 1e12 });
  const ids = Array.from({ length: 4 }, (_, index) => `t${index}`);
  await replica.execute([{ verb: "enqueue", calls: ids.map((id) => ({ tasks: [task(id)] })) }]);
  const [leases] = await replica.execute([
    { verb: "reserve", queues: ["q"], limit: 100, leaseMs: 60_000, worker: "w" },
  ]);
  const value = "v".repeat(13 * mib);
  const before = store.entries.length;
  const settlements = leases.map((lease, index) => ({
    ...lease,
    token: index === 2 ? "foreign" : lease.token,
    outcome: "completed" as const,
    storeResult: true,
    value,
  }));
  const [states, counts] = await replica.execute([
    { verb: "settle", settlements },
    { verb: "counts", queues: ["q"] },
  ]);
  expect(states).toEqual(["settled", "settled", "lost", "settled"]);
  expect(counts["q"]).toMatchObject({ active: 1 });
  expect(store.entries.length - before).toBe(4);
  for (const { body } of store.entries) expect(body.length).toBeLessThan(17 * mib);
  await replica.close();
}, 60_000);

it("a call is cut where its items stand for themselves, and only there; its answers come back in a row", () => {
  const events = Array.from(
    { length: 10 },
    (_, index): NewEvent => ({ type: `${index}`, data: "x".repeat(100) }) as never,
  );
  const parts = cutCommand({ verb: "appendEvents", events }, 300);
  expect(parts.length).toBeGreaterThan(3);
  expect(parts.flatMap(({ command }) => (command.verb === "appendEvents" ? command.events : []))).toEqual(events);
  const tasks = Array.from({ length: 10 }, (_, index) => task(`t${index}`));
  expect(cutCommand({ verb: "enqueue", calls: [{ tasks }] }, 300)).toHaveLength(1);
  expect(cutCommand({ verb: "enqueue", calls: tasks.map((each) => ({ tasks: [each] })) }, 300)).toHaveLength(10);
  expect(joinAnswers([{ value: [1, 2] }, { value: [3] }])).toEqual({ value: [1, 2, 3] });
  expect(joinAnswers([{ value: null }, { value: null }])).toEqual({ value: null });
  const failure = { code: "OMNIQ_INVALID_INPUT", message: "m" } as const;
  expect(joinAnswers([{ value: [1] }, { failure }])).toEqual({ failure });
  for (const value of [{ a: "é", b: [1, null, { c: "x" }] }, "text", 7, null])
    expect(sizeOf(value)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(value)) / 2);
});

it("a commit that is too long is an error that names the limit", () => {
  const calls = [{ tasks: [task("a", { payload: "p".repeat(2_000) })] }];
  const requests = [{ n: 1, operations: [{ verb: "enqueue", calls }] }] as const;
  const commit = { id: "c", sequence: 1, previous: "", at: 1, requests };
  const error = { code: "OMNIQ_INVALID_INPUT", message: expect.stringContaining("1000 characters") };
  expect(() => encodeCommit(commit, 1_000)).toThrow(expect.objectContaining(error));
  expect(encodeCommit(commit, 10_000)).toContain("pppp");
});

it("a checkpoint is text in pieces, of which no line is longer than one item, wherever it is cut", () => {
  const data = {
    a: 1,
    b: { c: [{ d: "x\n" }, null, "é\u{1f600}"], e: "text", f: [] as unknown[] },
    ["__proto__x"]: null,
  };
  const text = encodePieces(data).join("");
  for (let at = 0; at <= text.length; at += 3) {
    const read = JSON.parse(JSON.stringify(decodePieces([text.slice(0, at), text.slice(at)]))) as unknown;
    expect(read).toEqual(JSON.parse(JSON.stringify(data)));
  }
  const large = encodePieces({ items: Array.from({ length: 30 }, () => "x".repeat(mib)) });
  expect(large.length).toBeGreaterThan(5);
  for (const piece of large) expect(piece.length).toBeLessThan(6 * mib);
  for (const text of ["x", "#[]\n", '#["a"]\n{', '=["a"] ', '#["a","b","c","d","e","f","g","h","i"]\n1', "1\n"])
    expect(() => Machine.decode([text])).toThrow(expect.objectContaining({ code: "OMNIQ_BACKEND_FAILED" }));
});

it("what a version wrote before, one JSON text, is still read", () => {
  const machine = new Machine();
  const pieces = machine.encode();
  const old = JSON.stringify({ ...(decodePieces(pieces) as object), lanes: [] });
  expect(Machine.decode([old]).encode()).toEqual(pieces);
  expect(Machine.decode([old.slice(0, 10), old.slice(10)]).encode()).toEqual(pieces);
});

it("the writer applies what the log says, not what its objects hold", async () => {
  const store = new MemoryLogStore();
  const [one, two] = await Promise.all([1, 2].map(() => Replica.open(new MemoryLog(store), { resendMs: 1 })));
  if (one === undefined || two === undefined) throw new Error("not opened");
  const lost = { ...task("a"), delayMs: Number.POSITIVE_INFINITY, group: undefined };
  await one.execute([{ verb: "enqueue", calls: [{ tasks: [lost] }] }]).catch(() => undefined);
  await two.execute([{ verb: "counts" }]);
  expect(two.encode()).toBe(one.encode());
  await one.close();
  await two.close();
});
