// The contract of an object store: what a bucket or a folder must offer to hold a commit log.
import type { Reach } from "@omniq/core";

/** Stores merge in their `storageOptions` under their URL scheme. */
export interface ObjectStoreOptions {}

/** An object as it was read. */
export interface StoredObject {
  readonly body: Uint8Array;
  /** What {@link ObjectStore.replace} compares: it changes whenever the body does. */
  readonly revision: string;
  /** The store's time of the write, in epoch milliseconds, where the store tells it. */
  readonly lastModified?: number | undefined;
}

/**
 * `date` of answers: the store's time of the answer (HTTP `Date`), in epoch milliseconds. The log trusts what is young by these dates
 * and by `lastModified`, so they must come from one clock that is right to an eighth of the grace of deletion (1 h). A store without such
 * a clock leaves them out of reads and creates, and the log then lists before it trusts.
 */
export interface ReadAnswer {
  /** Undefined: nothing was there when the store answered. */
  readonly object: StoredObject | undefined;
  readonly date?: number | undefined;
}
export interface ListedObject {
  readonly key: string;
  readonly lastModified?: number | undefined;
}
export interface ListAnswer {
  readonly objects: readonly ListedObject[];
  /** Where the list came in several pages: that of the first. */
  readonly date?: number | undefined;
}

/**
 * - `created`: it is there, whole and durable, and this call put it there.
 * - `exists`: something was there already, perhaps by an earlier try of the same caller's whose answer was lost.
 * - `unknown`: the answer was lost, or the store could not decide. It may be there, or come to be there at any later time. `cause` says why.
 */
export interface CreateAnswer {
  readonly state: "created" | "exists" | "unknown";
  readonly date?: number | undefined;
  readonly cause?: unknown;
  /** False where `unknown` is the outcome of a request that certainly did not reach the store: nothing was stored, and `cause` is an OmniQError. */
  readonly wasSent?: boolean | undefined;
}
/** As {@link CreateAnswer}; `conflict`: the revision is not the one that is there, or nothing is. */
export interface ReplaceAnswer {
  readonly state: "replaced" | "conflict" | "unknown";
  readonly date?: number | undefined;
  readonly cause?: unknown;
}

/**
 * Named objects with conditional writes. Keys are `/`-separated ASCII. Obligations, each a rule of the conformance suite:
 *
 * - `store-read`: what was written comes back byte for byte, at once, to everyone (linearizable).
 * - `store-create`: of any number of racing creates of one key one is `created`, the others are told `exists`, nothing is torn.
 * - `store-replace`: only over the revision that was read; of racing replaces one is `replaced`.
 * - `store-list`: keys with a prefix, in the order of their bytes, after a key (exclusive), at most a limit.
 * - `store-delete`: gone for read, list and create; deleting what is not there is nothing.
 * - `store-stamps`: dates do not run backward, and an object's `lastModified` lies between the dates of the answers around its write.
 * - `store-close`: idempotent; later calls reject with `OMNIQ_CLOSED`.
 *
 * Reads, lists and deletes repeat themselves over passing failures and then reject with `OMNIQ_BACKEND_UNAVAILABLE`. Creates and replaces
 * are sent once, since a second answer would tell of the first try: where the outcome is not certain they answer `unknown`. Denied access, a
 * missing container and the like reject with `OMNIQ_BACKEND_FAILED`, unusable options and missing credentials with `OMNIQ_CONFIG_INVALID`.
 */
export interface ObjectStore {
  /** An object of more than `maxBytes` may be given with an empty body, so that what others put there fills no memory. */
  read(key: string, maxBytes?: number): Promise<ReadAnswer>;
  create(key: string, body: Uint8Array): Promise<CreateAnswer>;
  replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer>;
  delete(keys: readonly string[]): Promise<void>;
  list(prefix: string, after?: string, limit?: number): Promise<ListAnswer>;
  close(): Promise<void>;
  /** Who can share the store. Default `network`. */
  readonly reach?: Reach | undefined;
  /** Calls `changed` when something may have come under a prefix; answers with a function that ends it. A hint: the log polls behind it. */
  watch?(prefix: string, changed: () => void): () => void;
}

/** What a package of a store exports as `store`: how a URL and `storageOptions` become one. Throws `OMNIQ_CONFIG_INVALID`. */
export interface ObjectStoreAdapter {
  readonly scheme: string;
  /** `import.meta.url` of the module that exports this, so that heartbeat threads find it too, whatever folder the process was started in. */
  readonly module?: string | undefined;
  fromUrl(url: string, storageOptions: unknown): ObjectStore;
}
