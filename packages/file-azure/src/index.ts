// @omniq/file-azure: an object store in Azure Blob Storage, for the File backend.
import type { ObjectStore, ObjectStoreAdapter } from "@omniq/file";
import { type AzureOptions, checkOptions, checkUrl } from "./options.ts";
import { AzureStore } from "./store.ts";

export type { AzureOptions, AzureStorageOptions } from "./options.ts";

/**
 * An object store in an Azure container, for `file({ store: azure({ container: "orders", prefix: "tasks" }) })`. Nothing is connected before
 * the first request. Throws `OMNIQ_CONFIG_INVALID` for options that can't be used.
 */
export function azure(options: AzureOptions): ObjectStore {
  return new AzureStore(checkOptions(options));
}

/** What the File backend looks for behind `az://container/prefix`, and `abfs://`. */
export const store: ObjectStoreAdapter = {
  scheme: "az",
  module: import.meta.url,
  fromUrl: (url, storageOptions) => new AzureStore(checkUrl(url, storageOptions)),
};
