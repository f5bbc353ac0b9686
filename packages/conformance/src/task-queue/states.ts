// One task brought into each state that it can be in, as the start of a case.
import assert from "node:assert/strict";
import type { QueueCounts, StoredTaskState } from "@omniq/core";
import type { Bench, Feature } from "./bench.ts";
import { marginMs } from "./bench.ts";

/** A state, how a task gets there, and what the verbs find. */
export interface Situation {
  readonly name: string;
  /** As `get` shows it; `undefined` when it is not there. */
  readonly state: StoredTaskState | undefined;
  /** The one count of its queue that is 1. */
  readonly counted: readonly (keyof QueueCounts)[];
  readonly recorded: boolean;
  readonly needs: readonly Feature[];
  /** Brings a task there, alone in the queue `main`. */
  reach(bench: Bench): Promise<string>;
}

/** All states; the last two are of a task that is not in the queue. */
export const situations: readonly Situation[] = [
  {
    name: "blocked",
    state: "blocked",
    counted: ["blocked"],
    recorded: true,
    needs: ["dependencies"],
    reach: async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      return bench.add({ dependencies: [{ taskId: parent, onFailure: "fail" }] });
    },
  },
  {
    name: "scheduled",
    state: "scheduled",
    counted: ["scheduled"],
    recorded: true,
    needs: [],
    reach: (bench) => bench.add({ delayMs: 60_000 }),
  },
  {
    name: "waiting for its retry",
    state: "scheduled",
    counted: ["scheduled"],
    recorded: true,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add();
      await bench.retryLater(await bench.takeOne(), 60_000);
      return id;
    },
  },
  { name: "ready", state: "ready", counted: ["ready"], recorded: true, needs: [], reach: (bench) => bench.add() },
  {
    name: "active",
    state: "active",
    counted: ["active"],
    recorded: true,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add();
      await bench.takeOne();
      return id;
    },
  },
  {
    name: "active and cancelling",
    state: "active",
    counted: ["active"],
    recorded: true,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add();
      await bench.takeOne();
      assert.equal(await bench.cancel(id), "cancelling");
      return id;
    },
  },
  {
    name: "failed",
    state: "failed",
    counted: ["failed"],
    recorded: true,
    needs: [],
    reach: (bench) => bench.addDeadLetter({ rememberMs: 60_000 }),
  },
  {
    name: "failed, unrecorded",
    state: "failed",
    counted: ["failed", "unrecorded"],
    recorded: false,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add({ maxAttempts: 1 });
      await bench.retryLater(await bench.takeOne(), 0);
      return id;
    },
  },
  {
    name: "cancelled, unrecorded",
    state: "cancelled",
    counted: ["unrecorded"],
    recorded: false,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add();
      assert.equal(await bench.cancel(id), "cancelled");
      return id;
    },
  },
  {
    name: "expired, unrecorded",
    state: "expired",
    counted: ["unrecorded"],
    recorded: false,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add({ expiresInMs: 10 });
      await bench.pass(10 + marginMs);
      await bench.none();
      return id;
    },
  },
  {
    name: "completed and gone",
    state: undefined,
    counted: [],
    recorded: true,
    needs: [],
    reach: async (bench) => {
      const id = await bench.add();
      await bench.complete(await bench.takeOne());
      return id;
    },
  },
  { name: "never seen", state: undefined, counted: [], recorded: true, needs: [], reach: async () => "never-seen" },
];
