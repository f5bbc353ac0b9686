// Tasks, results, events and schedules in different backends; the same from plain configuration and from a file.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { OmniQ, defineTask } from "@omniq/core";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";

const double = defineTask({ name: "double", run: () => "done" });
async function use(omniq: OmniQ): Promise<void> {
  await using client = omniq;
  await using worker = client.worker({ tasks: [double] });
  await worker.start();
  const handle = await client.enqueue(double);
  assert.equal(await handle.result({ timeoutMs: 20_000 }), "done");
}

const database = sqlite({ databasePath: "./results.db" });
await use(
  new OmniQ({
    taskQueue: memory(),
    resultStorage: database,
    eventStorage: database,
    scheduleStorage: sqlite({ databasePath: "./schedules.db" }),
  }),
);

// Plain configuration, in code
await use(
  await OmniQ.load({
    config: {
      taskQueue: { type: "sqlite", databasePath: "./tasks.db" },
      resultStorage: { type: "memory" },
      eventStorage: "memory://events",
    },
    environment: false,
  }),
);
await use(
  await OmniQ.load({
    config: { taskQueueType: "sqlite", sqliteDatabasePath: "./flat.db", resultStorageType: "memory" },
    environment: false,
  }),
);
// A file, and the environment over it
await writeFile(
  "omniq.yaml",
  "task_queue: { type: memory }\nresult_storage: { type: sqlite, database_path: ./yaml.db }\n",
);
await use(await OmniQ.load({ file: "omniq.yaml", environment: { OMNIQ_RESULT_TTL: "60" } }));
