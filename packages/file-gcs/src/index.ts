// @omniq/file-gcs: an object store in Google Cloud Storage, for the File backend.
import type { ObjectStore, ObjectStoreAdapter } from "@omniq/file";
import { checkOptions, checkUrl, type GcsOptions } from "./options.ts";
import { GcsStore } from "./store.ts";

export type { GcsOptions, GcsStorageOptions } from "./options.ts";

/**
 * An object store in a Google Cloud Storage bucket, for `file({ store: gcs({ bucket: "orders", prefix: "tasks" }) })`. Nothing is connected
 * before the first request. Throws `OMNIQ_CONFIG_INVALID` for options that can't be used.
 */
export function gcs(options: GcsOptions): ObjectStore {
  return new GcsStore(checkOptions(options));
}

/** What the File backend looks for behind `gs://bucket/prefix`, and `gcs://`. */
export const store: ObjectStoreAdapter = {
  scheme: "gs",
  module: import.meta.url,
  fromUrl: (url, storageOptions) => new GcsStore(checkUrl(url, storageOptions)),
};
