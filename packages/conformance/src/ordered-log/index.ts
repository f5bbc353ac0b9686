// The suite of the `OrderedLog` contract of @omniq/replica: what every log under a replica must keep.
import assert from "node:assert/strict";
import type { LogEntry, OrderedLog } from "@omniq/replica";
import { awaitedLater, settleDown, within } from "../conduct/waiting.ts";

export const orderedLogRules = ["log-append", "log-read", "log-checkpoint", "log-wait", "log-close"] as const;
export type OrderedLogRule = (typeof orderedLogRules)[number];

/** `open` gives further processes' views of the same, at first empty, log. */
export interface OrderedLogCase {
  readonly rule: OrderedLogRule;
  readonly title: string;
  /** Only for logs that are ordered so. Default: for both. */
  readonly ordering?: OrderedLog["ordering"] | undefined;
  run(log: OrderedLog, open: () => Promise<OrderedLog>): Promise<void>;
}

/** Appends at the end until it is stored; the position that it got. */
async function push(log: OrderedLog, body: string, from = 1): Promise<number> {
  for (let position = from, tries = 0; tries < 1_000; tries += 1) {
    const answer = await log.append(position, body);
    if (answer.state === "stored") return answer.position;
    if (answer.state === "taken") position += 1;
    assert.notEqual(answer.state, "stale", "an append to a fresh log was stale");
  }
  assert.fail("an append was never stored");
}

/** Everything from a position on. */
async function readAll(log: OrderedLog, from = 1): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for (let position = from; ;) {
    const answer = await log.read(position);
    assert.equal(answer.state, "read", "a read of a log that nobody deleted from was stale");
    if (answer.state !== "read" || answer.entries.length === 0) return entries;
    for (const entry of answer.entries) {
      assert.ok(entry.position >= position, `a read from ${position} on gave position ${entry.position}`);
      assert.ok(entry.position > (entries.at(-1)?.position ?? 0), "a read gave positions that do not grow");
      entries.push(entry);
    }
    position = (answer.entries.at(-1)?.position ?? position) + 1;
  }
}

const bodies = (entries: readonly LogEntry[]): string[] => entries.map((entry) => entry.body);

export const orderedLogCases: readonly OrderedLogCase[] = [
  {
    rule: "log-read",
    title: "a fresh log is empty, without a checkpoint",
    async run(log) {
      assert.deepEqual(await log.read(1), { state: "read", entries: [] });
      assert.equal(await log.readCheckpoint(), undefined);
    },
  },
  {
    rule: "log-append",
    title: "what is stored is read by everyone, in order, at growing positions, as it was",
    async run(log, open) {
      const other = await open();
      const given = Array.from({ length: 12 }, (_, i) => `${i}: é\u{1f600}"\\\n`);
      let last = 0;
      for (const [i, body] of given.entries()) {
        const position = await push(i % 2 === 0 ? log : other, body, last + 1);
        assert.ok(position > last, "positions go back");
        last = position;
        assert.equal((await readAll(other)).at(-1)?.body, body);
      }
      assert.deepEqual(bodies(await readAll(log)), given);
      assert.deepEqual(await readAll(other), await readAll(log));
    },
  },
  {
    rule: "log-append",
    title: "a position that is taken stays as it is",
    ordering: "position",
    async run(log, open) {
      const other = await open();
      assert.deepEqual(await log.append(1, "first"), { state: "stored", position: 1 });
      assert.deepEqual(await other.append(1, "second"), { state: "taken" });
      assert.deepEqual(await log.append(1, "first"), { state: "taken" });
      assert.deepEqual(bodies(await readAll(other)), ["first"]);
    },
  },
  {
    rule: "log-append",
    title: "of appends that race for a position one is stored, each round",
    ordering: "position",
    async run(log, open) {
      const clients = [log, await open(), await open()];
      for (let position = 1; position <= 10; position += 1) {
        const answers = await Promise.all(
          Array.from({ length: 9 }, (_, i) => (clients[i % 3] ?? log).append(position, `${position}-${i}`)),
        );
        const stored = answers.flatMap((answer, i) => (answer.state === "stored" ? [i] : []));
        assert.equal(stored.length, 1);
        assert.deepEqual(bodies(await readAll(log, position)), [`${position}-${stored[0]}`]);
      }
    },
  },
  {
    rule: "log-append",
    title: "the server puts an append behind what is there, whatever position it names, and never says taken",
    ordering: "server",
    async run(log, open) {
      const clients = [log, await open(), await open()];
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => (clients[i % 3] ?? log).append(1, `${i}`)),
      );
      const positions = answers.map((answer) => (answer.state === "stored" ? answer.position : answer.state));
      assert.equal(new Set(positions).size, 12, `answers ${positions.join(", ")}`);
      const entries = await readAll(log);
      assert.equal(entries.length, 12);
      for (const entry of entries) assert.equal(positions[Number(entry.body)], entry.position);
    },
  },
  {
    rule: "log-append",
    title: "racing writers lose nothing and store nothing twice",
    async run(log, open) {
      const clients = [log, await open()];
      await Promise.all(
        clients.map(async (client, c) => {
          let from = 1;
          for (let i = 0; i < 15; i += 1) from = (await push(client, `${c}-${i}`, from)) + 1;
        }),
      );
      const all = bodies(await readAll(log));
      assert.equal(new Set(all).size, 30);
      assert.equal(all.length, 30);
      for (const c of [0, 1])
        assert.deepEqual(
          all.filter((body) => body.startsWith(`${c}-`)),
          Array.from({ length: 15 }, (_, i) => `${c}-${i}`),
        );
    },
  },
  {
    rule: "log-append",
    title: "a body of 256 KiB is whole",
    async run(log) {
      const body = 'é"'.repeat(87_381);
      await push(log, body);
      assert.ok((await readAll(log))[0]?.body === body);
    },
  },
  {
    rule: "log-read",
    title: "from any position on, to the end, which is an empty list",
    async run(log) {
      const positions: number[] = [];
      for (let i = 0; i < 5; i += 1) positions.push(await push(log, `${i}`, (positions.at(-1) ?? 0) + 1));
      for (const [i, position] of positions.entries())
        assert.deepEqual(bodies(await readAll(log, position)), ["0", "1", "2", "3", "4"].slice(i));
      assert.deepEqual(await log.read((positions.at(-1) ?? 0) + 1), { state: "read", entries: [] });
    },
  },
  {
    rule: "log-checkpoint",
    title: "the newest checkpoint is read by everyone; an older one changes nothing",
    async run(log, open) {
      const other = await open();
      let last = 0;
      for (let i = 0; i < 6; i += 1) last = await push(log, `${i}`, last + 1);
      await log.writeCheckpoint({ position: last - 2, pieces: ["old"] });
      await other.writeCheckpoint({ position: last, pieces: ["new ", "\u{1f600}"] });
      await log.writeCheckpoint({ position: last - 1, pieces: ["late"] });
      for (const client of [log, other]) {
        const read = await client.readCheckpoint();
        assert.deepEqual([read?.position, read?.pieces.join("")], [last, "new \u{1f600}"]);
      }
    },
  },
  {
    rule: "log-checkpoint",
    title: "what lies above the newest checkpoint but one is never deleted",
    async run(log) {
      const positions: number[] = [];
      for (let i = 0; i < 8; i += 1) positions.push(await push(log, `${i}`, (positions.at(-1) ?? 0) + 1));
      await log.writeCheckpoint({ position: positions[2] ?? 0, pieces: ["c2"] });
      await log.writeCheckpoint({ position: positions[5] ?? 0, pieces: ["c5"] });
      assert.deepEqual(bodies(await readAll(log, positions[3] ?? 0)), ["3", "4", "5", "6", "7"]);
      await push(log, "8", (positions.at(-1) ?? 0) + 1);
      assert.deepEqual(bodies(await readAll(log, positions[6] ?? 0)), ["6", "7", "8"]);
    },
  },
  {
    rule: "log-wait",
    title: "resolves at once when there is more, soon after another's append, and when aborted",
    async run(log, open) {
      const other = await open();
      const stop = new AbortController();
      const position = await push(other, "0");
      await within(log.wait(position - 1, stop.signal), "the wait for what is there", 5_000);
      const waiting = awaitedLater(log.wait(position, stop.signal));
      await settleDown();
      await push(other, "1", position + 1);
      await within(waiting, "the wait for another's append", 5_000);
      const aborted = log.wait(position + 1_000, stop.signal);
      stop.abort();
      await within(aborted, "the aborted wait", 5_000);
      await within(log.wait(position + 1_000, AbortSignal.abort()), "the wait with an aborted signal", 5_000);
    },
  },
  {
    rule: "log-close",
    title: "close can be called again, and other processes go on",
    async run(log, open) {
      const other = await open();
      const position = await push(log, "0");
      await log.close();
      await log.close();
      await push(other, "1", position + 1);
      assert.deepEqual(bodies(await readAll(other)), ["0", "1"]);
    },
  },
];
