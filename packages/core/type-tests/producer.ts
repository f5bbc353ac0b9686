// A producer: enqueueing with all options, results, outcomes and statuses. The worker would be another process.
import assert from "node:assert/strict";
import { OmniQ, isOmniQError } from "@omniq/core";
import { memory } from "@omniq/memory";
import { purge, resizeImage, sendEmail, withArk, withValibot } from "./tasks.ts";

await using omniq = new OmniQ({ taskQueue: memory() });
await using worker = omniq.worker({
  tasks: [
    sendEmail.implement(({ subject }) => ({ messageId: `<${subject}>` })),
    resizeImage.implement(({ url, width }) => ({ key: `${url}-${width}` })),
    purge.implement(() => undefined),
    withValibot.implement(({ id }) => id),
    withArk.implement(({ id }) => BigInt(id)),
  ],
});
await worker.start();

const handle = await omniq.enqueue(sendEmail, { to: "a@example.com", subject: "Hi" });
const { messageId } = await handle.result({ timeoutMs: 30_000 });
messageId satisfies string;
assert.equal(messageId, "<Hi>");

await omniq.enqueue(purge);
await omniq.enqueue(purge, undefined, { delayMs: 1_000 });
assert.equal(await (await omniq.enqueue(withValibot, { id: "1" })).result(), 1);
assert.equal(await (await omniq.enqueue(withArk, { id: "1" })).result(), 1n);

// Conditional options under exactOptionalPropertyTypes
const isPro: boolean = process.argv.includes("--pro");
await omniq.enqueue(resizeImage, { url: "https://x", width: 10 }, { priority: isPro ? 10 : undefined });

// All options
await omniq.enqueue(
  resizeImage,
  { url: "https://x", width: 10 },
  {
    id: "image-1",
    queue: "images",
    priority: 10,
    delayMs: 60_000,
    expiresInMs: 3_600_000,
    retry: { maxAttempts: 3, backoff: "fixed", delayMs: 5_000 },
    deduplicate: { key: "image-1", mode: "replace" },
    group: { key: "customer-1", limit: 2 },
    headers: { tenant: "t1" },
  },
);

// Many: a tuple of handles, or an array of them
const [mail, image] = await omniq.enqueueMany([
  sendEmail.with({ to: "ada@example.com", subject: "x" }),
  resizeImage.with({ url: "u", width: 1 }, { priority: 5 }),
]);
(await mail.result()).messageId satisfies string;
(await image.result()).key satisfies string;
const handles = await omniq.enqueueMany(["a", "b"].map((url) => resizeImage.with({ url, width: 100 })));
for (const one of handles) (await one.result()).key satisfies string;

// In another process, by id
const again = omniq.handle(sendEmail, handle.id);
const outcome = await again.outcome({ timeoutMs: 1_000 });
if (outcome.status === "completed") outcome.output.messageId satisfies string;
else if (outcome.status === "failed") console.error(outcome.error.code, outcome.error.cause);

try {
  await again.result({ signal: AbortSignal.timeout(1_000) });
} catch (error) {
  if (isOmniQError(error, "OMNIQ_TASK_FAILED")) console.error(error.taskId, error.cause);
  else throw error;
}

const state = await again.cancel();
if (state === "cancelling") console.log("running; told at the next heartbeat");
else assert.equal(state, "finished");
const status = await again.status();
if (status?.state === "active") console.log(status.progress?.fraction);
