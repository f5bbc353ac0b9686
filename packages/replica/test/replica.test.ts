// Many replicas over one log: they agree, and whatever answer is lost, nothing runs twice.
import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import {
  decodeCommit,
  encodeCommit,
  laneLimit,
  Machine,
  MemoryLog,
  MemoryLogStore,
  Replica,
  type AppendFault,
  type OrderedLog,
} from "../src/index.ts";
import { task } from "./fixtures.ts";

const open: Replica[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((replica) => replica.close()));
});
async function replicas(
  store: MemoryLogStore,
  count: number,
  ordering: OrderedLog["ordering"] = "position",
  checkpointBytes?: number,
): Promise<Replica[]> {
  const made = await Promise.all(
    Array.from({ length: count }, () => Replica.open(new MemoryLog(store, ordering), { resendMs: 1, checkpointBytes })),
  );
  open.push(...made);
  return made;
}
const reserve = { verb: "reserve", queues: ["q"], limit: 3, leaseMs: 60_000, worker: "w" } as const;
const enqueue = (id: string) => ({ verb: "enqueue", calls: [{ tasks: [task(id)] }] }) as const;

async function drain(replica: Replica, taken: string[]): Promise<void> {
  for (;;) {
    const [leases] = await replica.execute([reserve]);
    if (leases.length === 0) return;
    taken.push(...leases.map(({ taskId }) => taskId));
    const settlements = leases.map(
      (lease) => ({ ...lease, outcome: "completed", storeResult: true, value: "v" }) as const,
    );
    const [states] = await replica.execute([{ verb: "settle", settlements }]);
    expect(new Set(states)).toEqual(new Set(["settled"]));
  }
}

describe.each(["position", "server"] as const)("a log ordered by %s", (ordering) => {
  it.each<AppendFault | "none" | "all">(["none", "lose", "drop", "late", "stale", "lose-stale", "all"])(
    "fault %s: each task once, all agree",
    async (fault) => {
      const store = new MemoryLogStore();
      let appends = 0;
      const kinds: AppendFault[] = ["lose", "drop", "late", "stale", "lose-stale"];
      store.fault = () =>
        fault === "none" || ++appends % 3 !== 0 ? undefined : fault === "all" ? kinds[appends % kinds.length] : fault;
      store.beforeAppend = () => new Promise((resolve) => void setImmediate(resolve));
      const all = await replicas(store, 4, ordering, 4_000);
      const ids = Array.from({ length: 60 }, (_, index) => `t${index}`);
      const answers = await Promise.all(ids.map((id, index) => all[index % 4]!.execute([enqueue(id)])));
      expect(
        answers.every(([answer]) => answer[0]?.state === "accepted" && answer[0].receipts[0]?.state === "enqueued"),
      ).toBe(true);
      const taken: string[] = [];
      await Promise.all(all.map((replica) => drain(replica, taken)));
      expect(taken.sort()).toEqual(ids.sort());
      for (const replica of all) await replica.execute([{ verb: "counts" }]);
      const [first, ...others] = all.map((replica) => replica.encode());
      for (const other of others) expect(other).toBe(first);
      const [late] = await replicas(store, 1, ordering);
      expect(late?.encode()).toBe(first);
      expect(store.checkpoint).toBeDefined();
    },
  );
});

describe("lanes", () => {
  const request = (id: string, n: number, since = 0) => ({
    lane: { id, since },
    n,
    operations: [enqueue(`${id}-${n}`)],
  });
  const commit = (machine: Machine, ...requests: ReturnType<typeof request>[]) => {
    const position = machine.position + 1;
    return machine.applyCommit(
      { id: `c${position}`, sequence: position, previous: machine.commitId, at: 1, requests },
      position,
    );
  };
  it("a duplicate gets the answers of then; a gap or an unknown lane is refused; eviction raises the floor", () => {
    const machine = new Machine();
    expect(commit(machine, request("a", 1))[0]?.state).toBe("applied");
    const [again] = commit(machine, request("a", 1));
    expect(again).toMatchObject({ state: "duplicate", answers: [{ value: [{ receipts: [{ state: "enqueued" }] }] }] });
    expect(commit(machine, request("b", 2))[0]?.state).toBe("refused");
    for (let index = 0; index < laneLimit; index++) commit(machine, request(`lane${index}`, 1, machine.position));
    expect(commit(machine, request("a", 2))[0]?.state).toBe("refused");
    expect(commit(machine, request("old", 1, 0))[0]?.state).toBe("refused");
    const copy = Machine.decode(machine.encode());
    expect(commit(copy, request("old", 1, 0))[0]?.state).toBe("refused");
    expect(commit(copy, request("new", 1, copy.position))[0]?.state).toBe("applied");
  });
  it("a damaged or newer body is refused", () => {
    const body = encodeCommit({ id: "c", sequence: 1, previous: "", at: 1, requests: [] });
    expect(decodeCommit(body, 1).id).toBe("c");
    expect(() => decodeCommit(body.replace('"c"', '"d"'), 1)).toThrow("damaged");
    // A digit that was damaged is no newer version: from 2 on the checksum covers the version.
    for (const digit of [0, 1, 3]) expect(() => decodeCommit(`${digit}${body.slice(1)}`, 1)).toThrow("damaged");
    const checksum = createHash("sha256").update("3 {}").digest("base64url").slice(0, 22);
    expect(() => decodeCommit(`3 ${checksum} {}`, 1)).toThrow("newer");
  });
});
