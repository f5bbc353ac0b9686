// The shape of an object store as the suite sees it: the contract that @omniq/file owns, written down structurally.

/**
 * Named objects with conditional writes. Keys are `/`-separated ASCII.
 *
 * - `store-read`: what was written comes back byte for byte, at once, to everyone.
 * - `store-create`: of any number of racing creates of one key one is `created`, the others are told `exists`, nothing is torn.
 * - `store-replace`: only over the revision that was read; of racing replaces one is `replaced`.
 * - `store-list`: keys with a prefix, in the order of their bytes, after a key, at most a limit.
 * - `store-delete`: gone for read, list and create; deleting what is not there is nothing.
 * - `store-stamps`: dates do not run backward, and `lastModified` lies between the dates of the answers around the write.
 * - `store-close`: idempotent; later calls reject with `OMNIQ_CLOSED`.
 */
export interface ObjectStoreShape {
  read(key: string): Promise<{
    readonly object:
      | { readonly body: Uint8Array; readonly revision: string; readonly lastModified?: number | undefined }
      | undefined;
    readonly date?: number | undefined;
  }>;
  create(key: string, body: Uint8Array): Promise<WriteShape<"created" | "exists">>;
  replace(key: string, body: Uint8Array, revision: string): Promise<WriteShape<"replaced" | "conflict">>;
  delete(keys: readonly string[]): Promise<void>;
  list(
    prefix: string,
    after?: string,
    limit?: number,
  ): Promise<{
    readonly objects: readonly { readonly key: string; readonly lastModified?: number | undefined }[];
    readonly date?: number | undefined;
  }>;
  close(): Promise<void>;
}
interface WriteShape<State extends string> {
  readonly state: State | "unknown";
  readonly date?: number | undefined;
  readonly cause?: unknown;
}

export const objectStoreRules = [
  "store-read",
  "store-create",
  "store-replace",
  "store-list",
  "store-delete",
  "store-stamps",
  "store-close",
] as const;
export type ObjectStoreRule = (typeof objectStoreRules)[number];

/** A case of the suite. `open` gives further clients of the same, at first empty, store. */
export interface ObjectStoreCase {
  readonly rule: ObjectStoreRule;
  readonly title: string;
  run(store: StoreClient, open: () => Promise<StoreClient>): Promise<void>;
}

/** A store in short verbs: what is there, without times, and outcomes that must be certain. `store` is the store itself. */
export class StoreClient {
  readonly store: ObjectStoreShape;

  constructor(store: ObjectStoreShape) {
    this.store = store;
  }
  async read(key: string): Promise<{ readonly body: Uint8Array; readonly revision: string } | undefined> {
    return (await this.store.read(key)).object;
  }
  async create(key: string, body: Uint8Array): Promise<"created" | "exists"> {
    return definite(await this.store.create(key, body));
  }
  async replace(key: string, body: Uint8Array, revision: string): Promise<"replaced" | "conflict"> {
    return definite(await this.store.replace(key, body, revision));
  }
  async delete(keys: readonly string[]): Promise<void> {
    await this.store.delete(keys);
  }
  async list(prefix: string, after?: string, limit?: number): Promise<readonly string[]> {
    return (await this.store.list(prefix, after, limit)).objects.map(({ key }) => key);
  }
  async close(): Promise<void> {
    await this.store.close();
  }
}

function definite<State extends string>({ state, cause }: WriteShape<State>): State {
  if (state === "unknown") throw new Error("the outcome of a write on a sound network is unknown", { cause });
  return state as State;
}
