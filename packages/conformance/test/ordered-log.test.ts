// The ordered log suite on the log in memory, ordered by position and by the server, and on that log with each promise broken.
import { orderedLogCases, orderedLogRules, runOrderedLogCase, testOrderedLog } from "@omniq/conformance";
import type { OrderedLogRule } from "@omniq/conformance";
import { MemoryLog, MemoryLogStore, type AppendAnswer, type OrderedLog } from "@omniq/replica";
import { describe, expect, test } from "vitest";

type Ordering = OrderedLog["ordering"];
type LogClass = new (store: MemoryLogStore, ordering?: Ordering) => MemoryLog;

/** Opens logs; those of one name share their store. */
function opener(Log: LogClass, ordering: Ordering): (name: string) => MemoryLog {
  const stores = new Map<string, MemoryLogStore>();
  return (name) => {
    const store = stores.get(name) ?? new MemoryLogStore();
    stores.set(name, store);
    return new Log(store, ordering);
  };
}

for (const ordering of ["position", "server"] as const)
  testOrderedLog({ describe, test, ordering, open: opener(MemoryLog, ordering) });

const broken: Record<OrderedLogRule, LogClass> = {
  "log-append": class extends MemoryLog {
    override async append(position: number, body: string): Promise<AppendAnswer> {
      const answer = await super.append(position, body);
      return answer.state === "taken" ? { state: "stored", position } : answer;
    }
  },
  "log-read": class extends MemoryLog {
    override read(position: number) {
      return super.read(Math.max(1, position - 1));
    }
  },
  "log-checkpoint": class extends MemoryLog {
    readonly #broken: MemoryLogStore;
    constructor(store: MemoryLogStore, ordering?: Ordering) {
      super(store, ordering);
      this.#broken = store;
    }
    override async writeCheckpoint(checkpoint: { position: number; pieces: readonly string[] }) {
      this.#broken.checkpoint = checkpoint;
    }
  },
  "log-wait": class extends MemoryLog {
    override wait(_position: number, signal: AbortSignal): Promise<void> {
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    }
  },
  "log-close": class extends MemoryLog {
    #closed = false;
    override async close(): Promise<void> {
      if (this.#closed) throw new Error("closed already");
      this.#closed = true;
    }
  },
};

describe("a broken promise is caught under its key", () => {
  for (const rule of orderedLogRules) {
    test(
      rule,
      async () => {
        const failed: string[] = [];
        for (const one of orderedLogCases.filter((each) => each.rule === rule && each.ordering !== "server")) {
          const open = opener(broken[rule], "position");
          await runOrderedLogCase({ open }, one).catch(() => failed.push(one.title));
        }
        expect(failed.length).toBeGreaterThan(0);
      },
      90_000,
    );
  }
});
