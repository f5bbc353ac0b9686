// The worker with handlers in threads and child processes, which load the built package (build first).
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, jsonSerializer, OmniQ, type OmniQError, type WorkerKind } from "@omniq/core";

const messages: string[] = [];
const logger = {
  debug() {},
  info(message: string) {
    messages.push(message);
  },
  warn() {},
  error() {},
};
const modules = [new URL("./worker-modules/tasks.mjs", import.meta.url)];
const named = (name: string) => defineTask({ name, retry: { maxAttempts: 1 } });
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe.each(["thread", "process"] as const)("%s", (kind: WorkerKind) => {
  test("handlers run elsewhere, with context, enqueue, progress and log", async () => {
    const backend = memory({});
    await using omniq = new OmniQ({ taskQueue: backend, eventStorage: backend, logger });
    await using worker = omniq.worker({ kind, modules, concurrency: 2 });
    await worker.start();
    const place = (await (await omniq.enqueue(named("where"))).result()) as unknown as {
      pid: number;
      isMainThread: boolean;
    };
    expect([place.isMainThread, place.pid === process.pid]).toEqual(kind === "thread" ? [false, true] : [true, false]);
    messages.length = 0;
    const handle = await omniq.enqueue(named("parent"));
    expect(await handle.result()).toEqual(["born", 2]);
    expect(messages).toContain("said in the thread");
    const types: string[] = [];
    for await (const event of handle.events()) types.push(event.type);
    expect(types).toEqual(["enqueued", "started", "log", "progress", "completed"]);
    const outcome = await (await omniq.enqueue(named("dead"))).outcome();
    if (outcome.status !== "failed") throw new Error(outcome.status);
    expect([outcome.error.message, outcome.attempt, (outcome.error.cause as Error).message]).toEqual([
      "dead",
      1,
      "why",
    ]);
    const bulk = await omniq.enqueueMany([0, 1, 2, 3].map((n) => named("bulk").with(undefined, { id: `bulk-${n}` })));
    const statuses = await Promise.all(bulk.map(async (one) => (await one.outcome()).status));
    expect(statuses.filter((status) => status === "completed").length).toBe(3);
  });

  test("a time limit and a cancellation really stop the code, and the pool goes on", async () => {
    await using omniq = new OmniQ({ taskQueue: memory({}), logger });
    await using worker = omniq.worker({ kind, modules, concurrency: 1, leaseMs: 300 });
    await worker.start();
    const spin = await (await omniq.enqueue(named("spin"), undefined, { timeoutMs: 300 })).outcome();
    if (spin.status !== "failed") throw new Error(spin.status);
    expect((spin.error.cause as OmniQError).code).toBe("OMNIQ_TIMEOUT");
    const waits = await omniq.enqueue(named("waits"));
    await until(async () => (await waits.status())?.progress?.fraction === 0.25);
    await waits.cancel();
    expect((await waits.outcome()).status).toBe("cancelled");
    const spinning = await omniq.enqueue(named("spin"), undefined, { timeoutMs: null });
    await until(async () => (await spinning.status())?.state === "active");
    await spinning.cancel();
    expect((await spinning.outcome()).status).toBe("cancelled");
    expect((await (await omniq.enqueue(named("exits"))).outcome()).status).toBe("failed");
    expect(await (await omniq.enqueue(named("child"))).result()).toBe("born");
  });

  test("a flow that a handler enqueues has its dependencies in the order given, failures as outcomes", async () => {
    await using omniq = new OmniQ({ taskQueue: memory({}), logger });
    await using worker = omniq.worker({ kind, modules, concurrency: 4 });
    await worker.start();
    const expected = { sum: 112, dates: true, maybe: "OMNIQ_TASK_FAILED too small below zero" };
    expect(await (await omniq.enqueue(named("flow"))).result({ timeoutMs: 30_000 })).toEqual(expected);
  });

  test("a serializer of the user's holds for inputs, outputs, failures and what dependents get", async () => {
    const backend = memory({});
    const reverse = (text: string): string => [...text].reverse().join("");
    const seen: string[] = [];
    const serializer = {
      name: "reversed",
      serialize: (value: unknown) => reverse(jsonSerializer.serialize(value)),
      deserialize: (text: string) => {
        seen.push(text);
        return jsonSerializer.deserialize(reverse(text));
      },
    };
    await using omniq = new OmniQ({ taskQueue: backend, logger, serializer });
    await using worker = omniq.worker({ kind, modules, concurrency: 4 });
    await worker.start();
    const expected = { sum: 112, dates: true, maybe: "OMNIQ_TASK_FAILED too small below zero" };
    const handle = await omniq.enqueue(named("flow"));
    expect(await handle.result({ timeoutMs: 30_000 })).toEqual(expected);
    const [stored] = await backend.resultStorage().get([handle.id]);
    expect(stored?.value).toBe(serializer.serialize(expected));
    expect(seen).toContain(serializer.serialize({ n: 2 }));
  });

  test("a handler that blocks for three lease lengths runs once", async () => {
    await using omniq = new OmniQ({ taskQueue: memory({}), logger });
    await using worker = omniq.worker({ kind, modules, concurrency: 1, leaseMs: 300 });
    await worker.start();
    expect(await (await omniq.enqueue(named("block"))).result()).toBe(1);
  });

  test.each([
    ["empty", /exports no task/],
    ["broken", /cannot be loaded/],
  ])("a module that is %s is refused at the start", async (name, message) => {
    await using omniq = new OmniQ({ taskQueue: memory({}), logger });
    const worker = omniq.worker({ kind, modules: [new URL(`./worker-modules/${name}.mjs`, import.meta.url)] });
    await expect(worker.start()).rejects.toMatchObject({
      code: "OMNIQ_INVALID_OPTION",
      message: expect.stringMatching(message),
    });
  });
});

test.each(["async", "thread", "process"])("a process with flags of V8 has workers of kind %s", async (kind) => {
  const folder = await mkdtemp(join(tmpdir(), "omniq-flags-"));
  try {
    const program = fileURLToPath(new URL("./worker-modules/flags.mjs", import.meta.url));
    const flags = ["--max-old-space-size=300", "--stack-trace-limit=20"];
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, join(folder, "queue.db"), kind]);
    expect(JSON.parse(stdout)).toBe("completed");
  } finally {
    await rm(folder, { recursive: true });
  }
});
