// The configurations that must work as they stand, and the flat form, with the real adapters: each loads, connects and runs a task. Only hosts,
// credentials and the run's own prefixes differ.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineTask, OmniQ } from "@omniq/core";
import { afterAll, expect, test } from "vitest";
import { cleanUpAfter } from "../../../scripts/clean-up.mjs";
import { makePlace } from "../../../scripts/interchange.mjs";
import { startServers } from "../../../scripts/servers.mjs";

const { servers, stop } = await startServers(["redis", "postgres", "nats"]);
const urls = new Map<string, string>();
for (const { name, url } of servers) urls.set(name, url);
const folder = makePlace("example");
const name = `omniq_c_${process.pid}`;
afterAll(async () => {
  await cleanUpAfter(name, ["redis", "postgres", "nats"]);
  rmSync(folder, { recursive: true, force: true });
  await stop();
});
const redis = new URL(urls.get("redis") ?? "");

async function works(options: Parameters<typeof OmniQ.load>[0]): Promise<void> {
  await using omniq = await OmniQ.load({ environment: false, ...options });
  await omniq.connect();
  const greet = defineTask({ name: "greet", run: () => "hello" });
  const handle = await omniq.enqueue(greet);
  await omniq.worker({ tasks: [greet] }).drain();
  expect(await handle.result()).toBe("hello");
}

const changes: readonly [string, (text: string) => string][] = [
  ["memory", (text) => text],
  ["sqlite", (text) => text],
  ["file", (text) => text],
  ["redis", (text) => text.replace("localhost", redis.hostname).replace("6379", `${redis.port}\n  prefix: ${name}`)],
  ["postgres", (text) => text.replace(/dsn: .*/, `dsn: ${urls.get("postgres")}\n  schema: ${name}`)],
  ["nats", (text) => text.replace("nats://localhost:4222", urls.get("nats") ?? "").concat(`  prefix: ${name}\n`)],
];
test.each(changes)("%s.yaml", async (kind, change) => {
  const given = new URL(`../../../packages/core/test/config-examples/${kind}.yaml`, import.meta.url);
  const file = join(folder, `${kind}.yaml`);
  writeFileSync(file, change(readFileSync(given, "utf8")));
  await works({ file });
});

test("the flat form, three backends at once", async () => {
  const file = join(folder, "flat.json");
  const flat = {
    task_queue_type: "redis",
    result_storage_type: "sqlite",
    event_storage_type: "postgresql",
    redis_host: redis.hostname,
    redis_port: Number(redis.port),
    redis_prefix: name,
    sqlite_database_path: "omniq_results.db",
    postgresql_dsn: urls.get("postgres"),
    postgresql_schema: name,
  };
  writeFileSync(file, JSON.stringify(flat));
  await works({ file });
});
