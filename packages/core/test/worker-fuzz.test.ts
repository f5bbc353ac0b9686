// Whatever handlers throw, return or ask for, in every kind of worker: each attempt ends with an error that can be read, no process ends and
// no slot is lost. Threads and processes load `dist`. OMNIQ_WORKER_BACKENDS adds backends, OMNIQ_WORKER_SEEDS errors of more seeds.
import { describe, expect, test } from "vitest";
import { defineTask, OmniQ, typeOnly, type TaskHandle, type TaskOutcome, type WorkerKind } from "@omniq/core";
import { maxErrorBytes } from "../src/worker/failures.ts";
import { backendNames, storeOf } from "./worker-backends.ts";

const fuzz = new URL("./worker-modules/fuzz.mjs", import.meta.url);
const { thrownCount, outputCount, oddCount, delays } = (await import(/* @vite-ignore */ fuzz.href)) as {
  readonly thrownCount: number;
  readonly outputCount: number;
  readonly oddCount: number;
  readonly delays: readonly unknown[];
};
const seeds = Number(process.env["OMNIQ_WORKER_SEEDS"] ?? 60);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const named = (name: string) => defineTask({ name, input: typeOnly<number>(), retry: { maxAttempts: 1 } });
const retried = (name: string) =>
  defineTask({ name, input: typeOnly<number>(), retry: { maxAttempts: 3, delayMs: 0, factor: 1, jitter: 0 } });
const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

describe.each(backendNames)("%s", (name) => {
  // What crosses to threads and processes is the same on all backends.
  const kinds: readonly WorkerKind[] =
    name === "sqlite" && backendNames.length === 2 ? ["async"] : ["async", "thread", "process"];
  test.each(kinds)(
    "%s workers: every error, output and delay ends its attempt, and the slots come back",
    async (kind) => {
      const open = await storeOf(name);
      await using omniq = new OmniQ({ taskQueue: open(), eventStorage: false, logger: quiet });
      const errors: TaskHandle<unknown>[] = [];
      const add = async (task: ReturnType<typeof named>, inputs: readonly number[]): Promise<TaskHandle<unknown>[]> => [
        ...(await omniq.enqueueMany(inputs.map((n) => task.with(n)))),
      ];
      // Errors of seeds begin where the list ends.
      for (const [at, task] of ["throws", "throws-later", "bulk-throws"].entries()) {
        const all = numbers(thrownCount + seeds);
        errors.push(...(await add(named(task), at === 0 ? all : all.filter((n) => n % 4 === at))));
      }
      const outputs = [
        ...(await add(retried("returns"), numbers(outputCount))),
        ...(await add(retried("bulk-returns"), numbers(outputCount))),
      ];
      const asked = [
        ...(await add(retried("asks"), numbers(delays.length))),
        ...(await add(retried("bulk-asks"), numbers(delays.length))),
      ];
      const said = await add(named("says"), numbers(oddCount));
      const refused = await omniq.enqueue(named("refused"), 0);
      const worker = omniq.worker({ kind, modules: [fuzz], concurrency: 2 });
      await worker.drain();

      for (const handle of errors) {
        const outcome = await handle.outcome({ timeoutMs: 5_000 });
        if (outcome.status !== "failed") throw new Error(`${handle.id} is ${outcome.status}`);
        expect(typeof outcome.error.message).toBe("string");
        expect(outcome.error.message).not.toMatch(/failed: (Error)?$/);
      }
      const stored = await omniq.components.taskQueue.get(errors.map(({ id }) => id));
      for (const task of stored) expect(Buffer.byteLength(task?.error ?? "")).toBeLessThanOrEqual(maxErrorBytes);
      for (const handle of outputs) {
        const outcome = await handle.outcome({ timeoutMs: 5_000 });
        // What was returned and cannot be kept is told at once; a `then` that throws is a handler that threw.
        if (outcome.status === "failed" && outcome.error.code === "OMNIQ_SERIALIZATION_FAILED")
          expect(outcome.attempt).toBe(1);
      }
      expect((await counted(outputs)).completed).toBeGreaterThan(20);
      for (const [index, handle] of asked.entries()) {
        const delay = delays[index % delays.length];
        const status = await handle.status();
        // A pause that is a number is taken, at most a hundred years of it; all else is the policy's: at once.
        if (Number.isFinite(delay) && (delay as number) > 0.5)
          expect(status).toMatchObject({ state: "scheduled", attempt: 1 });
        else expect((await handle.outcome({ timeoutMs: 5_000 })).status).toBe("completed");
        if (status?.state === "scheduled") expect(Number.isSafeInteger(status.runAt)).toBe(true);
      }
      for (const handle of said) expect((await handle.outcome({ timeoutMs: 5_000 })).status).toBe("completed");

      const outcome = (await refused.outcome({ timeoutMs: 5_000 })) as Extract<
        TaskOutcome<unknown>,
        { status: "failed" }
      >;
      expect(outcome.error.cause).toMatchObject({
        name: "PaymentRefused",
        message: "the card was refused",
        status: 402,
        details: { reason: "limit" },
      });
      if (kind === "async") {
        const pairs = await add(named("pair"), [1, 2]);
        await worker.drain();
        for (const handle of pairs) expect(await handle.result({ timeoutMs: 5_000 })).toBe("both");
      }
    },
  );
});

async function counted(handles: readonly TaskHandle<unknown>[]): Promise<{ readonly completed: number }> {
  const outcomes = await Promise.all(handles.map((handle) => handle.outcome({ timeoutMs: 5_000 })));
  return { completed: outcomes.filter(({ status }) => status === "completed").length };
}
