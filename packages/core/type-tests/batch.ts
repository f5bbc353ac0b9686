// Type test: a program that a user would write must compile (batch).
import { OmniQ, defineTask, retryTask, failTask, typeOnly } from "@omniq/core";
import { memory } from "@omniq/memory";

const indexDocument = defineTask({
  name: "index-document",
  input: typeOnly<{ id: string; text: string }>(),
  output: typeOnly<{ version: number }>(),
});
declare function bulk(
  documents: readonly { id: string }[],
  options: { signal: AbortSignal },
): Promise<readonly { version: number; status: number }[]>;

const indexDocuments = indexDocument.implementBatch({ maxSize: 500, maxWaitMs: 50 }, async (tasks, { signal }) => {
  const items = await bulk(
    tasks.map((task) => task.input),
    { signal },
  );
  return items.map(({ status, version }) =>
    status === 429 ? retryTask({ delayMs: 5_000 }) : status >= 400 ? failTask(`Status ${status}`) : { version },
  );
});
await new OmniQ({ taskQueue: memory() }).worker({ tasks: [indexDocuments] }).run();
