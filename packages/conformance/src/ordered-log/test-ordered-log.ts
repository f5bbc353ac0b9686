// Registers the ordered log suite with the test runner of a log's own test.
import assert from "node:assert/strict";
import type { OrderedLog } from "@omniq/replica";
import { defaultTimeoutMs } from "../run-case.ts";
import type { Runner } from "../test-backend.ts";
import { freshNamespace } from "../world.ts";
import { orderedLogCases, type OrderedLogCase } from "./index.ts";

export interface OrderedLogOptions extends Runner {
  /** Opens one more process's view of the log of this name (`a-z`, `0-9`, `_`), which is empty at first. Closed after the case. */
  readonly open: (namespace: string) => OrderedLog | Promise<OrderedLog>;
  /** What the log says of itself; checked. Cases of the other ordering do not apply. */
  readonly ordering: OrderedLog["ordering"];
  /** Removes what a namespace left behind. */
  readonly cleanUp?: ((namespace: string) => void | Promise<void>) | undefined;
}

/** Opening and cleaning up may take this long, above the case's own limit. */
const graceMs = 30_000;

/** Registers one test for each case of the `OrderedLog` contract that applies to a log of this ordering. */
export function testOrderedLog(options: OrderedLogOptions): void {
  const { describe, test, ordering } = options;
  describe(`ordered log by ${ordering}`, () => {
    test(
      `log-append: the log says that it is ordered by ${ordering}`,
      () => runOrderedLogCase(options, { run: async (log) => assert.equal(log.ordering, ordering) }),
      graceMs,
    );
    for (const one of orderedLogCases) {
      if (one.ordering !== undefined && one.ordering !== ordering) continue;
      test(`${one.rule}: ${one.title}`, () => runOrderedLogCase(options, one), defaultTimeoutMs + graceMs);
    }
  });
}

/** Runs one case on a log of its own; rejects when it fails. */
export async function runOrderedLogCase(
  options: Pick<OrderedLogOptions, "open" | "cleanUp">,
  one: Pick<OrderedLogCase, "run">,
): Promise<void> {
  const namespace = freshNamespace();
  const opened: OrderedLog[] = [];
  const open = async (): Promise<OrderedLog> => {
    const log = await options.open(namespace);
    opened.push(log);
    return log;
  };
  try {
    await one.run(await open(), open);
  } finally {
    for (const log of opened) await log.close();
    await options.cleanUp?.(namespace);
  }
}
