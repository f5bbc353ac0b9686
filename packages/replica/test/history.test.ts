// Random histories: the kept counts and what may run are compared with what a plain look at all tasks says.
import { describe, expect, it } from "vitest";
import { hash32 } from "../src/random.ts";
import { Bench, task } from "./fixtures.ts";

describe("random histories", () => {
  it.each([1, 2, 3, 4])("seed %i: counts are exact, groups keep their limits, restored states agree", (seed) => {
    let draw = 0;
    const random = (below: number): number => hash32(`history ${seed}`, draw++) % below;
    const b = new Bench();
    b.run({ verb: "configureQueue", queue: "q", settings: { maxActive: 8 } });
    const leases: ReturnType<Bench["reserve"]>[number][] = [];
    for (let step = 0; step < 400; step++) {
      b.at += random(200);
      const some = `t${random(step + 1)}`;
      switch (random(9)) {
        case 0:
        case 1:
        case 2:
          b.enqueue(
            task(`t${step}`, {
              priority: random(3),
              delayMs: random(2) * random(300),
              ...(random(3) === 0 ? { group: { key: `g${random(2)}`, limit: 1 + random(2) } } : {}),
              ...(random(4) === 0 ? { expiresInMs: random(900) } : {}),
              ...(random(5) === 0 && b.stateOf(some) !== undefined && some !== `t${step}`
                ? { dependencies: [{ taskId: some, onFailure: random(2) ? "run" : "fail" }] }
                : {}),
            }),
          );
          break;
        case 3:
        case 4:
          leases.push(...b.reserve(1 + random(3)));
          break;
        case 5:
          b.complete(leases.splice(random(leases.length + 1), 1)[0]);
          break;
        case 6:
          b.retry(leases.splice(random(leases.length + 1), 1)[0], random(300));
          break;
        case 7:
          b.release(leases.splice(random(leases.length + 1), 1)[0]);
          break;
        default:
          b.run(
            [
              { verb: "cancel", ids: [some] },
              { verb: "remove", ids: [some] },
              { verb: "retry", ids: [some] },
              { verb: "sweep", limit: 3 },
            ][random(4)] as never,
          );
          if (random(3) === 0) b.recordAll();
      }
      const tasks = b.run({ verb: "listTasks", filter: { queue: "q" }, page: { limit: 1_000 } }).items;
      const seen = (state: string): number => tasks.filter((each) => each.state === state).length;
      const counts = b.counts();
      expect([counts?.blocked, counts?.scheduled, counts?.ready, counts?.active, counts?.failed]).toEqual(
        ["blocked", "scheduled", "ready", "active", "failed"].map(seen),
      );
      expect(counts?.active).toBeLessThanOrEqual(8);
      for (const key of ["g0", "g1"]) {
        const active = tasks.filter((each) => each.state === "active" && each.group?.key === key);
        expect(active.length).toBeLessThanOrEqual(Math.max(0, ...active.map((each) => each.group?.limit ?? 0)));
      }
    }
  });
});
