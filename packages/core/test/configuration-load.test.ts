// Plain configuration up to a working client, with real adapters found as packages.
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memory } from "@omniq/memory";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OmniQ } from "../src/client.ts";
import { defineTask } from "../src/define-task.ts";
import { resolveConfiguration } from "../src/configuration/index.ts";
import { isOmniQError } from "../src/errors.ts";
import { typeOnly } from "../src/standard-schema.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "omniq-configuration-"));
});
afterAll(() => rm(folder, { recursive: true }));
const double = defineTask({ name: "double", input: typeOnly<number>(), run: (input) => input * 2 });

describe("OmniQ.load", () => {
  test("an adapter that is passed: tasks run, and closing the client closes the backend", async () => {
    const omniq = await OmniQ.load({
      config: { taskQueue: { type: "memory" } },
      environment: false,
      adapters: [memory],
    });
    const handle = await omniq.enqueue(double, 21);
    await omniq.worker({ tasks: [double] }).drain();
    expect(await handle.result()).toBe(42);
    await omniq.close();
    await expect(omniq.enqueue(double, 1)).rejects.toSatisfy((error) => isOmniQError(error, "OMNIQ_CLOSED"));
  });
  test("adapters that are packages, from a file in a folder that sees none of them", async () => {
    const path = join(folder, "omniq.yaml");
    await writeFile(
      path,
      "task_queue: {type: memory}\nresult_storage: {type: sqlite, database_path: ./results.db}\ntask_ttl: 60\nlog_level: silent\n",
    );
    const omniq = await OmniQ.load({ file: path, environment: {} });
    const handle = await omniq.enqueue(double, 4);
    await omniq.worker({ tasks: [double] }).drain();
    expect(await handle.result()).toBe(8);
    await omniq.close();
    expect((await stat(join(folder, "results.db"))).isFile()).toBe(true);
  });
  test("one backend for equal descriptions", async () => {
    const options = await resolveConfiguration({
      config: {
        taskQueueType: "memory",
        eventStorage: { type: "memory" },
        resultStorage: { type: "memory", name: "other" },
      } as never,
      environment: false,
      adapters: [memory],
    });
    expect(options.eventStorage).toBe(options.taskQueue);
    expect(options.resultStorage).not.toBe(options.taskQueue);
  });
});
