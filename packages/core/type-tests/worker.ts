// A worker with all that a handler gets: signal, log, progress, tasks of its own, failures and retries that it decides.
import assert from "node:assert/strict";
import { OmniQ, failTask, isOmniQError, retryTask } from "@omniq/core";
import { memory } from "@omniq/memory";
import { resizeImage, sendEmail } from "./tasks.ts";

/** What the mail server says, attempt by attempt. */
const answers = [429, 200];

const sendEmailTask = sendEmail.implement(async ({ to, subject, sendAt, tries }, context) => {
  to satisfies string;
  sendAt satisfies Date | undefined;
  tries satisfies number;
  context.signal.throwIfAborted();
  context.log.info("sending", { attempt: context.attempt });
  const status = to === "nobody@example.com" ? 400 : answers.shift();
  if (status === 429) throw retryTask({ delayMs: 10 });
  if (status === 400) throw failTask("The address was refused");
  context.progress(1, "sent");
  return { messageId: `<${subject}@example.com>` };
});
const resizeImageTask = resizeImage.implement(async ({ url }, context) => {
  const thanks = await context.enqueue(sendEmail, { to: "ada@example.com", subject: "resized" });
  assert.ok(thanks.id.length > 0);
  return { key: `small/${url}` };
});

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const omniq = new OmniQ({ taskQueue: memory(), logger: quiet });
const failures: string[] = [];
const times: number[] = [];
const worker = omniq.worker({
  tasks: [sendEmailTask, resizeImageTask],
  concurrency: 50,
  onFailed: (task, error) => void failures.push(`${task.name}: ${error.message}`),
  middleware: [
    async (_context, next) => {
      const start = performance.now();
      try {
        return await next();
      } finally {
        times.push(performance.now() - start);
      }
    },
  ],
});
await worker.start();
const image = await omniq.enqueue(resizeImage, { url: "cat.png", width: 10 });
assert.deepEqual(await image.result(), { key: "small/cat.png" });
const refused = await omniq.enqueue(sendEmail, { to: "nobody@example.com", subject: "Hi" });
await assert.rejects(refused.result(), (error) => isOmniQError(error, "OMNIQ_TASK_FAILED"));
await worker.stop();
assert.deepEqual(failures, ["send-email: The address was refused"]);
assert.ok(times.length >= 3);
await omniq.close();

// A handler is a function, and can be tested as one.
answers.push(200);
(await sendEmailTask.invoke({ to: "ada@example.com", subject: "b" })).messageId satisfies string;
