// @omniq/file-s3: an object store in S3, for the File backend.
import type { ObjectStore, ObjectStoreAdapter } from "@omniq/file";
import { checkOptions, checkUrl, type S3Options } from "./options.ts";
import { S3Store } from "./store.ts";

export type { S3Options, S3StorageOptions } from "./options.ts";

/**
 * An object store in an S3 bucket, for `file({ store: s3({ bucket: "orders", prefix: "tasks" }) })`. Nothing is connected before the first
 * request. Throws `OMNIQ_CONFIG_INVALID` for options that can't be used.
 */
export function s3(options: S3Options): ObjectStore {
  return new S3Store(checkOptions(options));
}

/** What the File backend looks for behind `s3://bucket/prefix`. */
export const store: ObjectStoreAdapter = {
  scheme: "s3",
  module: import.meta.url,
  fromUrl: (url, storageOptions) => new S3Store(checkUrl(url, storageOptions)),
};
