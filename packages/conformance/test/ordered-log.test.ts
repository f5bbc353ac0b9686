// The ordered log suite on the log in memory, ordered by position and by the server.
import { describe, test } from "vitest";
import { MemoryLog, MemoryLogStore, type OrderedLog } from "@omniq/replica";
import { orderedLogCases } from "../src/ordered-log/index.ts";

describe.each<OrderedLog["ordering"]>(["position", "server"])("ordering by %s", (ordering) => {
  for (const one of orderedLogCases) {
    if (one.unless?.(new MemoryLog(new MemoryLogStore(), ordering)) !== undefined) continue;
    test(`${one.rule}: ${one.title}`, async () => {
      const store = new MemoryLogStore();
      await one.run(new MemoryLog(store, ordering), async () => new MemoryLog(store, ordering));
    });
  }
});
