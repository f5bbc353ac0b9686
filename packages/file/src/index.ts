// @omniq/file: tasks, results, events and schedules as files, in a folder or in an object store.
import { defineAdapter, type Adapter } from "@omniq/core";
import { FileBackend } from "./backend.ts";
import { checkOptions, type FileConfig, type FileOptions } from "./options.ts";
import { isRemote, packagedStore, storeSchemes } from "./stores.ts";

export { CommitLog, defaultDeletionGraceMs, type CommitLogOptions } from "./commit-log.ts";
export type { FileBackend } from "./backend.ts";
export type { FileConfig, FileOptions, FileTuning } from "./options.ts";
export type {
  CreateAnswer,
  ListAnswer,
  ListedObject,
  ObjectStore,
  ObjectStoreAdapter,
  ObjectStoreOptions,
  ReadAnswer,
  ReplaceAnswer,
  StoredObject,
} from "./object-store.ts";
export { LocalStore } from "./local-store.ts";
export { MemoryObjects, MemoryObjectStore } from "./memory-store.ts";
export { probeStore } from "./probe.ts";
export {
  checkStorePrefix,
  isHttpUrl,
  readStorageOptions,
  type ReadStorageOptions,
  readStoreUrl,
  type StorageOption,
  type StorageOptionKind,
  type StorageOptionTable,
  type StoreLocation,
} from "./storage-options.ts";
export {
  forEachLimited,
  isPassing,
  plainCause,
  readHttpDate,
  repeatCall,
  RequestLimits,
  storeError,
  wasSent,
  type StoreFailure,
  type StoreNames,
} from "./store-failure.ts";

declare module "@omniq/core" {
  interface BackendOptions {
    file: FileConfig;
  }
}

/**
 * Makes a backend on a folder or in an object store: `file({ baseDir: "./data/tasks" })`, `file({ store: s3({ bucket: "orders" }) })`. It is
 * opened at the first call. Throws `OMNIQ_CONFIG_INVALID` where an option can't be used.
 */
export const file: Adapter<"file", FileOptions, FileBackend> = defineAdapter<"file", FileBackend, FileOptions>({
  type: "file",
  contract: 1,
  aliases: storeSchemes,
  options: {
    baseDir: "path",
    storageOptions: "record",
    deletionGraceMs: "integer",
    minimumLeaseMs: "integer",
    eventTtlMs: "integer",
    checkpointBytes: "integer",
    giveUpMs: "integer",
  },
  optionAliases: { path: "baseDir", directory: "baseDir" },
  fromUrl: (url) => ({ baseDir: url }),
  create: (options) => new FileBackend(checkOptions(options)),
  load: async (options, loader) => {
    const checked = checkOptions(options);
    const { baseDir = "", storageOptions } = checked;
    if (!isRemote(baseDir)) return new FileBackend(checked);
    return new FileBackend(checked, await packagedStore(baseDir, storageOptions, (name) => loader.import(name)));
  },
});
export { file as adapter };
