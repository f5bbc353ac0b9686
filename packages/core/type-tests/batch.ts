// A batch handler: many tasks in one call of a service, each settled on its own.
import assert from "node:assert/strict";
import { OmniQ, defineTask, retryTask, failTask, typeOnly } from "@omniq/core";
import { memory } from "@omniq/memory";

const indexDocument = defineTask({
  name: "index-document",
  input: typeOnly<{ id: string; text: string }>(),
  output: typeOnly<{ version: number }>(),
});
/** A search service that is busy at first, and refuses some documents. */
const seen = new Set<string>();
async function bulk(
  documents: readonly { id: string }[],
  { signal }: { signal: AbortSignal },
): Promise<readonly { version: number; status: number }[]> {
  signal.throwIfAborted();
  return documents.map(({ id }) => {
    const busy = id === "busy" && !seen.has(id);
    seen.add(id);
    return { version: 1, status: busy ? 429 : id === "bad" ? 400 : 200 };
  });
}

const indexDocuments = indexDocument.implementBatch({ maxSize: 500, maxWaitMs: 50 }, async (tasks, { signal }) => {
  const items = await bulk(
    tasks.map((task) => task.input),
    { signal },
  );
  return items.map(({ status, version }) =>
    status === 429 ? retryTask({ delayMs: 10 }) : status >= 400 ? failTask(`Status ${status}`) : { version },
  );
});

await using omniq = new OmniQ({ taskQueue: memory() });
await using worker = omniq.worker({ tasks: [indexDocuments] });
await worker.start();
const handles = await omniq.enqueueMany(["a", "busy", "bad"].map((id) => indexDocument.with({ id, text: "" })));
const outcomes = await Promise.all(handles.map((handle) => handle.outcome()));
assert.deepEqual(
  outcomes.map(({ status, attempt }) => [status, attempt]),
  [
    ["completed", 1],
    ["completed", 2],
    ["failed", 1],
  ],
);
