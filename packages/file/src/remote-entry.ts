// What a thread imports to make a backend whose store's module is known.
import { FileBackend } from "./backend.ts";
import type { ObjectStoreAdapter } from "./object-store.ts";
import { checkOptions, type FileConfig } from "./options.ts";
import type { PackagedStore } from "./stores.ts";

/** Makes the backend at once; the store's module is imported meanwhile. */
export function adapter({ storeModule, ...options }: FileConfig & { readonly storeModule: string }): FileBackend {
  const load = async (): Promise<PackagedStore> => {
    const { store } = (await import(storeModule)) as { readonly store: ObjectStoreAdapter };
    return { store: store.fromUrl(options.baseDir, options.storageOptions), module: storeModule };
  };
  return new FileBackend(checkOptions(options as FileConfig), load());
}
