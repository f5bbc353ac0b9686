// Handlers that end their thread or process, or send it what no one knows; and the program that runs them, for worker-crashes.test.ts.
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort } from "node:worker_threads";
import { defineTask, OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";

const once = { retry: { maxAttempts: 1 } };
const forever = () => new Promise((resolve) => setTimeout(resolve, 600_000));
export const exits = defineTask({ name: "exits", ...once, run: () => process.exit(3) });
export const killed = defineTask({
  name: "killed",
  ...once,
  run: () => {
    process.kill(process.pid, "SIGKILL");
    return forever();
  },
});
export const throwsLater = defineTask({
  name: "throws-later",
  ...once,
  run: () => {
    setTimeout(() => {
      throw new RangeError("nobody caught me");
    }, 1);
    return forever();
  },
});
export const hungry = defineTask({
  name: "hungry",
  ...once,
  run: () => {
    const kept = [];
    for (;;) kept.push(Array.from({ length: 10_000 }, (_, n) => ({ n })));
  },
});
const messages = [
  null,
  undefined,
  0,
  "text",
  [],
  {},
  { omniq: 1 },
  { omniq: 1, type: "log", index: 0, level: "no", message: 1 },
  { omniq: 1, type: "log", index: 0, level: "info", message: "x", fields: "{" },
  { omniq: 1, type: "progress", index: 0, fraction: "half" },
  { omniq: 1, type: "call", call: 1, what: null },
  { omniq: 1, type: "call", call: 1, what: { verb: "enqueue" } },
  { omniq: 1, type: "call", call: 1, what: { verb: "constructor", taskId: {} } },
  { __tinypool_worker_message__: true, source: "port", taskId: -1, result: 1 },
];
export const sends = defineTask({
  name: "sends",
  ...once,
  run: async () => {
    for (const omniq of [1, 2, 3, 4, 5]) {
      for (const message of messages) {
        const said =
          typeof message === "object" && message !== null && "omniq" in message ? { ...message, omniq } : message;
        // Node itself refuses to send what has no form.
        try {
          process.send?.(said);
        } catch {}
        parentPort?.postMessage(said);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    return "sent";
  },
});
export const environment = defineTask({
  name: "environment",
  ...once,
  run: () => [process.env["PATH"], process.env["OMNIQ_TEST_WORD"]],
});

async function main([kind, ...names]) {
  process.env["OMNIQ_TEST_WORD"] = "word";
  const omniq = new OmniQ({ taskQueue: memory(), logLevel: "silent" });
  const worker = omniq.worker({ kind, modules: [new URL(import.meta.url)], concurrency: 1 });
  await worker.start();
  const said = {};
  for (const name of names) {
    const handle = await omniq.enqueue(defineTask({ name, ...once }));
    const outcome = await handle.outcome({ timeoutMs: 30_000 });
    said[name] = outcome.status === "failed" ? outcome.error.message.replace(/^.*failed: /, "") : outcome.output;
  }
  console.log(JSON.stringify(said));
  await omniq.close();
}
if (isMainThread && process.argv[1] === fileURLToPath(import.meta.url)) void main(process.argv.slice(2));
