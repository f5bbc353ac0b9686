// @omniq/file: the contract of object stores, and what helps to write one.
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
  readHttpDate,
  repeatCall,
  storeError,
  type StoreFailure,
  type StoreNames,
} from "./store-failure.ts";
