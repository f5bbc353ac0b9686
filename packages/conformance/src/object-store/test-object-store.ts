// Registers the object store suite with the test runner of a store's own test.
import { defaultTimeoutMs } from "../run-case.ts";
import type { Runner } from "../test-backend.ts";
import { freshNamespace } from "../world.ts";
import { objectStoreCases, StoreClient, type ObjectStoreCase, type ObjectStoreShape } from "./index.ts";

export interface ObjectStoreOptions extends Runner {
  /** Opens one more client of the store of this name (`a-z`, `0-9`, `_`), which is empty at first. Closed after the case. */
  readonly open: (namespace: string) => ObjectStoreShape | Promise<ObjectStoreShape>;
  /** Removes what a namespace left behind. */
  readonly cleanUp?: ((namespace: string) => void | Promise<void>) | undefined;
}

/** Opening and cleaning up may take this long, above the case's own limit. */
const graceMs = 30_000;

/** Registers one test for each case of the object store contract. */
export function testObjectStore(options: ObjectStoreOptions): void {
  const { describe, test } = options;
  describe("object store", () => {
    for (const one of objectStoreCases)
      test(`${one.rule}: ${one.title}`, () => runObjectStoreCase(options, one), defaultTimeoutMs + graceMs);
  });
}

/** Runs one case on a store of its own; rejects when it fails. */
export async function runObjectStoreCase(
  options: Pick<ObjectStoreOptions, "open" | "cleanUp">,
  one: Pick<ObjectStoreCase, "run">,
): Promise<void> {
  const namespace = freshNamespace();
  const opened: StoreClient[] = [];
  const open = async (): Promise<StoreClient> => {
    const store = new StoreClient(await options.open(namespace));
    opened.push(store);
    return store;
  };
  try {
    await one.run(await open(), open);
  } finally {
    for (const store of opened) await store.close();
    await options.cleanUp?.(namespace);
  }
}
