// The shape of an object store as the suite sees it: the contract that @omniq/file owns, written down structurally.

/**
 * Named objects with conditional writes. Keys are `/`-separated ASCII.
 *
 * - `store-read`: what was written comes back byte for byte, at once, to everyone.
 * - `store-create`: of any number of racing creates of one key one is `created`, the others are told `exists`, nothing is torn.
 * - `store-replace`: only over the revision that was read; of racing replaces one is `replaced`.
 * - `store-list`: keys with a prefix, in the order of their bytes, after a key, at most a limit.
 * - `store-delete`: gone for read, list and create; deleting what is not there is nothing.
 * - `store-close`: idempotent.
 */
export interface ObjectStoreShape {
  read(key: string): Promise<{ readonly body: Uint8Array; readonly revision: string } | undefined>;
  create(key: string, body: Uint8Array): Promise<"created" | "exists">;
  replace(key: string, body: Uint8Array, revision: string): Promise<"replaced" | "conflict">;
  delete(keys: readonly string[]): Promise<void>;
  list(prefix: string, after?: string, limit?: number): Promise<readonly string[]>;
  close(): Promise<void>;
}

export const objectStoreRules = [
  "store-read",
  "store-create",
  "store-replace",
  "store-list",
  "store-delete",
  "store-close",
] as const;
export type ObjectStoreRule = (typeof objectStoreRules)[number];

/** A case of the suite. `open` gives further clients of the same, at first empty, store. */
export interface ObjectStoreCase {
  readonly rule: ObjectStoreRule;
  readonly title: string;
  run(store: ObjectStoreShape, open: () => Promise<ObjectStoreShape>): Promise<void>;
}
