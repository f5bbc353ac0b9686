// Whatever stands in a log and whatever a caller hands in: the state machine goes on, and all replicas come to the same state.
import { mutateText, seededRandom } from "../../conformance/src/damage/mutate.ts";
import { isOmniQError } from "@omniq/core";
import { describe, expect, it } from "vitest";
import {
  createComponents,
  Machine,
  MemoryLog,
  MemoryLogStore,
  Replica,
  type Commit,
  type GrantedLease,
  type WriteCommand,
} from "../src/index.ts";
import { task } from "./fixtures.ts";

// More by hand: OMNIQ_MUTATIONS=10000 (the whole run).
const rounds = Number(process.env["OMNIQ_MUTATIONS"] ?? 500);
const far = { leaseMs: 60_000, worker: "w" };
const event = {
  id: "e",
  at: 5,
  type: "log",
  taskId: "a",
  taskName: "n",
  queue: "q",
  run: 1,
  attempt: 1,
  data: "d",
} as const;

/** A commit of each verb, as JSON gives it back. */
function commands(lease: GrantedLease): readonly WriteCommand[] {
  const reference = { taskId: lease.taskId, queue: "q", token: lease.token, run: 1, attempt: 1 };
  const outcome = { taskId: "gone", run: 1, attempt: 1, status: "completed", value: "v", finishedAt: 1 } as const;
  return [
    {
      verb: "enqueue",
      calls: [
        {
          tasks: [
            task("m1", { delayMs: 5, deduplicate: { key: "k", mode: "replace", windowMs: 10 }, expiresInMs: 9 }),
            task("m2", {
              group: { key: "g", limit: 1 },
              dependencies: [{ taskId: "gone", onFailure: "fail", outcome }],
            }),
          ],
          events: [event],
        },
      ],
    },
    { verb: "reserve", queues: ["q"], limit: 1, maxBytes: 1_000, ...far },
    { verb: "extend", leases: [{ ...reference, progress: "p" }], leaseMs: 60_000 },
    { verb: "settle", settlements: [{ ...reference, outcome: "retry", delayMs: 10, error: "e", events: [event] }] },
    { verb: "settle", settlements: [{ ...reference, outcome: "release", delayMs: 10 }] },
    { verb: "settle", settlements: [{ ...reference, outcome: "completed", storeResult: true, value: "v" }] },
    { verb: "cancel", ids: ["m1"] },
    { verb: "retry", ids: ["m1", "dead"], outcomes: [outcome] },
    { verb: "remove", ids: ["m1"] },
    { verb: "purge", queue: "r", states: ["ready", "failed"] },
    { verb: "record", outcomes: [{ taskId: "m1", run: 1 }] },
    {
      verb: "configureQueue",
      queue: "r",
      settings: { maxActive: 3, rateLimit: { limit: 2, windowMs: 9 }, deadLetterTtlMs: 5 },
    },
    { verb: "pause", queue: "r" },
    { verb: "resume", queue: "r" },
    { verb: "sweep", limit: 10 },
    {
      verb: "putResults",
      results: [{ taskId: "x", run: 1, attempt: 1, name: "n", queue: "q", status: "failed", error: "e", ttlMs: 9 }],
    },
    { verb: "deleteResults", ids: ["x"] },
    { verb: "sweepResults", limit: 9 },
    { verb: "appendEvents", events: [event] },
    { verb: "sweepEvents", limit: 9 },
    {
      verb: "putSchedule",
      schedule: { id: "s", rule: "r", template: "t", nextAt: 5, runs: 0, paused: false },
      revision: null,
    },
    { verb: "advanceSchedule", id: "s", revision: "1", next: { nextAt: null, runs: 1 } },
    { verb: "deleteSchedules", ids: ["s"] },
  ];
}

class Log {
  readonly machines: readonly Machine[] = [new Machine(), new Machine()];
  #position = 0;

  /** The same commit at both, each reading it for itself; their answers. */
  apply(operations: unknown): readonly unknown[] {
    const position = ++this.#position;
    const commit = {
      id: `c${position}`,
      sequence: position,
      previous: "",
      at: 1_000 + position,
      requests: [{ n: 1, operations }],
    };
    const text = JSON.stringify(commit);
    const outcomes = this.machines.map((machine) => machine.applyCommit(JSON.parse(text) as Commit, position)[0]);
    expect(JSON.stringify(outcomes[1])).toBe(JSON.stringify(outcomes[0]));
    const [first] = outcomes;
    if (first === undefined || first.state === "refused") throw new Error("refused");
    return first.answers.map((answer) => ("value" in answer ? answer.value : answer.failure));
  }
  expectSameStates(): void {
    const [one, other] = this.machines.map((machine) => machine.encode().join(""));
    expect(other).toBe(one);
  }
}

describe("mutated commands", () => {
  it(`${rounds} of them: none throws or hangs, replicas agree, restored states too, undamaged tasks are done`, () => {
    const random = seededRandom(17);
    let log = new Log();
    let slowest = 0;
    let done = 0;
    for (let round = 0; round < rounds; round++) {
      if (round % 100 === 0) log = new Log();
      const id = `good-${round}`;
      log.apply([{ verb: "enqueue", calls: [{ tasks: [task(id, { queue: "own" }), task(`held-${round}`)] }] }]);
      const [held] = log.apply([{ verb: "reserve", queues: ["q"], limit: 1, ...far }]) as GrantedLease[][];
      const all = commands(held?.[0] ?? ({ taskId: "none", token: "none" } as GrantedLease));
      const chosen = all[Math.floor(random() * all.length)];
      const { value } = mutateText(JSON.stringify([chosen]), random);
      let operations: unknown;
      try {
        operations = JSON.parse(value);
      } catch {
        // Not JSON is no commit; who reads the log refuses that before.
        operations = [value.slice(0, 50)];
      }
      const started = performance.now();
      if (Array.isArray(operations)) log.apply(operations);
      slowest = Math.max(slowest, performance.now() - started);
      // The queue that nothing was done to still gives and ends its tasks.
      const [leases] = log.apply([{ verb: "reserve", queues: ["own"], limit: 9, ...far }]) as GrantedLease[][];
      const settlements = leases?.map((lease) => ({ ...lease, outcome: "completed", storeResult: false }));
      const [states] = log.apply([{ verb: "settle", settlements }]) as string[][];
      if (
        leases?.some(({ taskId }) => taskId === id) === true &&
        states?.every((state) => state === "settled") === true
      )
        done++;
      if (round % 50 === 49) {
        log.expectSameStates();
        const [one] = log.machines;
        const restored = Machine.decode(one!.encode());
        expect(restored.encode().join("")).toBe(one!.encode().join(""));
      }
    }
    expect(done).toBe(rounds);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(slowest).toBeLessThan(5_000);
  });

  it("a task that can't be read is a dead letter; its neighbours and dependents go on; it is removed and not retried", () => {
    const log = new Log();
    const broken = { ...task("bad"), payload: 5, group: { key: "g", limit: 0 } };
    log.apply([
      {
        verb: "enqueue",
        calls: [
          { tasks: [task("one"), broken, task("child", { dependencies: [{ taskId: "bad", onFailure: "run" }] }), 7] },
        ],
      },
    ]);
    const [leases] = log.apply([{ verb: "reserve", queues: ["q"], limit: 9, ...far }]) as GrantedLease[][];
    expect(leases?.map(({ taskId }) => taskId)).toEqual(["one", "child"]);
    expect(leases?.[1]?.dependencies[0]).toMatchObject({ taskId: "bad", status: "failed" });
    const bad = log.machines[0]!.state.tasks.get("bad");
    expect([bad?.state, bad?.unrecorded, bad?.payload, JSON.parse(bad?.error ?? "{}").code]).toEqual([
      "failed",
      false,
      "",
      "OMNIQ_ITEM_DAMAGED",
    ]);
    expect(
      log.apply([
        { verb: "retry", ids: ["bad"] },
        { verb: "remove", ids: ["bad"] },
      ]),
    ).toEqual([["unknown"], ["removed"]]);
  });

  it("a mutated checkpoint is refused as damaged or newer, or is a state that goes on", () => {
    const random = seededRandom(5);
    const log = new Log();
    log.apply([{ verb: "enqueue", calls: [{ tasks: [task("held"), task("other", { delayMs: 9 })] }] }]);
    const [leases] = log.apply([{ verb: "reserve", queues: ["q"], limit: 1, ...far }]) as GrantedLease[][];
    for (const command of commands(leases![0]!)) log.apply([command]);
    log.apply([{ verb: "enqueue", calls: [{ tasks: [task("last"), task("next")] }] }, commands(leases![0]!)[1]]);
    const [machine] = log.machines;
    const lines = machine!.encode().join("").split("\n");
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const spoilt = [...lines];
      const at = Math.floor(random() * spoilt.length);
      const line = spoilt[at] as string;
      const json = line.startsWith("=") ? line.slice(line.indexOf(" ") + 1) : line;
      spoilt[at] = line.slice(0, line.length - json.length) + mutateText(json, random).value;
      let decoded: Machine;
      try {
        decoded = Machine.decode([spoilt.join("\n")]);
      } catch (error) {
        expect(isOmniQError(error), String(error)).toBe(true);
        refused++;
        continue;
      }
      const requests = [{ n: 1, operations: commands(leases![0]!) }];
      const [outcome] = decoded.applyCommit({ id: "z", sequence: 99, previous: "", at: 5_000, requests }, 99);
      const failed = outcome?.state === "refused" ? [] : outcome?.answers.filter((answer) => "failure" in answer);
      expect(failed).toEqual([]);
      decoded.encode();
    }
    expect(refused).toBeGreaterThan(rounds / 4);
  });

  it("a settlement that can't be read is lost, and its neighbours are settled", () => {
    const log = new Log();
    log.apply([{ verb: "enqueue", calls: [{ tasks: [task("a"), task("b"), task("c")] }] }]);
    const [leases] = log.apply([{ verb: "reserve", queues: ["q"], limit: 9, ...far }]) as GrantedLease[][];
    const [a, b, c] = leases!.map((lease) => ({ ...lease, outcome: "completed", storeResult: false }));
    expect(
      log.apply([{ verb: "settle", settlements: [a, { ...b, outcome: "retry", delayMs: null, error: "e" }, c] }]),
    ).toEqual([["settled", "lost", "settled"]]);
  });
});

describe("odd values of callers", () => {
  const odd: readonly unknown[] = [
    Number.POSITIVE_INFINITY,
    Number.NaN,
    undefined,
    null,
    -0,
    1n,
    new Date(5),
    "\ud800",
    Symbol("s"),
    () => 1,
    { toJSON: () => "other" },
    [undefined],
    Object.create(null),
    1e300,
    1.5,
  ];
  it("are refused before they are written, or mean the same to all who read them", async () => {
    const store = new MemoryLogStore();
    const replicas = await Promise.all([0, 1].map(() => Replica.open(new MemoryLog(store))));
    const options = {
      durable: false,
      push: true,
      reach: "process",
      maxPayloadBytes: 1e6,
      maxBatch: 1_000,
      minimumLeaseMs: 1,
    } as const;
    const components = createComponents(replicas[0]!, { ...options, backend: {} });
    const queue = components.taskQueue();
    const random = seededRandom(1);
    const spoil = <T>(value: T): T => {
      const places: [Record<string, unknown>, string][] = [];
      const copy = structuredClone(value);
      const walk = (holder: unknown): void => {
        if (typeof holder !== "object" || holder === null) return;
        for (const key of Object.keys(holder)) {
          places.push([holder as Record<string, unknown>, key]);
          walk((holder as Record<string, unknown>)[key]);
        }
      };
      walk(copy);
      const [holder, key] = places[Math.floor(random() * places.length)] as [Record<string, unknown>, string];
      holder[key] = odd[Math.floor(random() * odd.length)];
      return copy;
    };
    const codes = new Set<unknown>();
    for (let round = 0; round < 400; round++) {
      const leases = await queue.reserve({ queues: ["q"], limit: 1, waitMs: 0, ...far });
      const operations = commands((leases[0] as never) ?? ({ taskId: "none", token: "none" } as GrantedLease));
      const { verb, ...rest } = operations[Math.floor(random() * operations.length)] as WriteCommand;
      const given = spoil(rest) as never as Record<string, never>;
      const calls: Record<string, () => Promise<unknown>> = {
        enqueue: () => queue.enqueue(given["calls"]!),
        extend: () => queue.extend(given["leases"]!, given["leaseMs"]!),
        settle: () => queue.settle(given["settlements"]!),
        cancel: () => queue.cancel(given["ids"]!),
        retry: () => queue.retry(given["ids"]!, { outcomes: given["outcomes"] }),
        configureQueue: () => queue.configureQueue(given["queue"]!, given["settings"]!),
        record: () => queue.record(given["outcomes"]!),
        putResults: () => components.resultStorage().put(given["results"]!),
        appendEvents: () => components.eventStorage().append(given["events"]!),
        putSchedule: () => components.scheduleStorage().put(given["schedule"]!, given["revision"]),
        advanceSchedule: () => components.scheduleStorage().advance(given["id"]!, given["revision"]!, given["next"]!),
      };
      try {
        await calls[verb]?.();
      } catch (error) {
        expect(isOmniQError(error), String(error)).toBe(true);
        codes.add((error as { code: unknown }).code);
      }
    }
    expect([...codes]).toEqual(["OMNIQ_INVALID_OPTION"]);
    for (const replica of replicas) await replica.execute([{ verb: "counts" }]);
    expect(replicas[1]!.encode()).toBe(replicas[0]!.encode());
    await components.close();
    await Promise.all(replicas.map((replica) => replica.close()));
  });
});
