// `node scripts/schedule-load.mjs BACKEND… [--schedules N] [--seconds S]`: schedules of each second and one worker. Says how many of their
// occurrences ran, how late tasks were enqueued, and fails where one was skipped, merged or lost. Names are this run's own and are deleted.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { cleanUpAfter } from "./clean-up.mjs";
import { root } from "./steps.mjs";
import { readArguments } from "./usage.mjs";

const usage = "node scripts/schedule-load.mjs BACKEND… [--schedules 2000] [--seconds 60]";
const { values, positionals } = readArguments(usage, {
  options: { schedules: { type: "string", default: "2000" }, seconds: { type: "string", default: "60" } },
  allowPositionals: true,
});
const count = Number(values.schedules);
const seconds = Number(values.seconds);
const url = (name, standard) => (process.env[`OMNIQ_TEST_${name}_URL`] ??= standard);
const descriptions = {
  memory: ({ name }) => ({ type: "memory", name }),
  sqlite: ({ folder }) => ({ type: "sqlite", databasePath: join(folder, "omniq.db") }),
  postgres: ({ name }) => ({
    type: "postgres",
    dsn: url("POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres"),
    schema: name,
  }),
  redis: ({ name }) => ({ type: "redis", url: url("REDIS", "redis://127.0.0.1:6379"), prefix: name }),
  nats: ({ name }) => ({ type: "nats", servers: [url("NATS", "nats://127.0.0.1:4222")], prefix: name }),
  file: ({ folder }) => ({ type: "file", baseDir: join(folder, "files") }),
};

const { OmniQ, defineTask, typeOnly } = await import(pathToFileURL(`${root}packages/core/dist/index.js`).href);
for (const backend of positionals.length > 0 ? positionals : Object.keys(descriptions)) {
  const folder = mkdtempSync(join(tmpdir(), "omniq-schedules-"));
  const name = `load_${randomBytes(6).toString("hex")}`;
  const adapter = (await import(pathToFileURL(`${root}packages/${backend}/dist/index.js`).href)).adapter;
  const lines = [];
  const note = (message, fields) => lines.push(`${message} ${fields?.error ?? ""}`);
  const logger = { debug() {}, info() {}, warn: note, error: note };
  const omniq = await OmniQ.load({
    config: { taskQueue: descriptions[backend]({ name, folder }) },
    environment: false,
    adapters: [adapter],
    logger,
  });
  const late = [];
  let ran = 0;
  const ping = defineTask({
    name: "ping",
    resultTtlMs: 0,
    input: typeOnly(),
    run: (_, { id, enqueuedAt }) => {
      ran += 1;
      late.push(enqueuedAt - Date.parse(id.slice(id.indexOf("@") + 1)));
    },
  });
  const startAt = Date.now() + 5_000 + count * 5;
  const endAt = startAt + (seconds - 1) * 1_000;
  // A thousandth of a second apart, as schedules that are put one after the other are.
  for (let at = 0; at < count; at += 100)
    await Promise.all(
      Array.from({ length: Math.min(100, count - at) }, (_, index) =>
        omniq.schedules.put(`s${at + index}`, {
          everyMs: 1_000,
          startAt: startAt + ((at + index) % 1_000),
          endAt: endAt + 999,
          missed: ["latest", "skip", "all"][index % 3],
          task: ping.with(),
        }),
      ),
    );
  const worker = omniq.worker({ tasks: [ping], concurrency: 200 });
  await worker.start();
  const expected = count * seconds;
  const cpu = process.cpuUsage();
  const stopAt = endAt + 120_000;
  while (ran < expected && Date.now() < stopAt) await new Promise((resolve) => setTimeout(resolve, 200));
  const behind = Math.max(0, Date.now() - endAt - 1_000);
  const { user, system } = process.cpuUsage(cpu);
  late.sort((a, b) => a - b);
  const at = (part) => late[Math.floor((late.length - 1) * part)];
  console.log(
    `${backend}: ${expected} expected, ${ran} ran; enqueued late by ${at(0.5)} ms (median), ${at(0.99)} (99 %), ${at(1)} (most); ` +
      `done ${behind} ms after the last; ${((user + system) / 1e6).toFixed(1)} s of processor time`,
  );
  for (const line of new Set(lines)) console.log(`  ${line}`);
  await omniq.close();
  await cleanUpAfter(name, [backend]);
  rmSync(folder, { recursive: true, force: true });
  if (ran !== expected) process.exitCode = 1;
}
