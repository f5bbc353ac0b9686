// Finds the store behind a folder or a URL: two are here, the others are packages of their own.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { OmniQError } from "@omniq/core";
import { LocalStore } from "./local-store.ts";
import { MemoryObjects, MemoryObjectStore } from "./memory-store.ts";
import type { ObjectStore, ObjectStoreAdapter } from "./object-store.ts";
import { invalid } from "./options.ts";

/** Schemes whose package has another name. */
const packages: Readonly<Record<string, string>> = {
  az: "@omniq/file-azure",
  azure: "@omniq/file-azure",
  abfs: "@omniq/file-azure",
  abfss: "@omniq/file-azure",
  gs: "@omniq/file-gcs",
  gcs: "@omniq/file-gcs",
};
/** URL schemes that stand for the File backend; `memory://` is the memory backend's. */
export const storeSchemes: readonly string[] = ["s3", ...Object.keys(packages)];

const memories = new Map<string, MemoryObjects>();

/** The scheme of a URL, in lower case; undefined for a path. */
export function schemeOf(baseDir: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(baseDir)?.[1]?.toLowerCase();
}
/** True where other machines can share what the folder or URL names. */
export function isRemote(baseDir: string): boolean {
  const scheme = schemeOf(baseDir);
  return scheme !== undefined && scheme !== "file" && scheme !== "memory";
}

/** A store that needs no other package; undefined for other schemes. Throws `OMNIQ_CONFIG_INVALID`. */
export function ownStore(baseDir: string, storageOptions: unknown): ObjectStore | undefined {
  const scheme = schemeOf(baseDir);
  if (scheme !== undefined && scheme !== "file" && scheme !== "memory") return undefined;
  if (storageOptions !== undefined && storageOptions !== null && Object.keys(storageOptions).length > 0)
    throw invalid("a folder has no storageOptions; they belong to a store such as s3://");
  if (scheme === undefined) return new LocalStore(resolve(baseDir));
  if (scheme === "file") return new LocalStore(pathOf(baseDir));
  const name = baseDir.slice("memory://".length);
  if (name === "") return new MemoryObjectStore();
  const objects = memories.get(name) ?? new MemoryObjects();
  memories.set(name, objects);
  return new MemoryObjectStore(objects);
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    const error = invalid("a file:// URL must be file:///absolute/path; write a relative folder as a path");
    throw new OmniQError(error.code, error.message, { cause });
  }
}

/** A store, and the module that it came from. */
export interface PackagedStore {
  readonly store: ObjectStore;
  readonly module: string | undefined;
}

/** The store of a URL, from the package of its scheme. `load` imports a package, or rejects with `OMNIQ_ADAPTER_NOT_FOUND`. */
export async function packagedStore(
  baseDir: string,
  storageOptions: unknown,
  load: (specifier: string) => Promise<Readonly<Record<string, unknown>>> = importFromHere,
): Promise<PackagedStore> {
  const scheme = schemeOf(baseDir) ?? "";
  const specifier = packages[scheme] ?? `@omniq/file-${scheme}`;
  const { store } = (await load(specifier)) as { readonly store?: ObjectStoreAdapter };
  if (typeof store?.fromUrl !== "function")
    throw new OmniQError("OMNIQ_ADAPTER_INCOMPATIBLE", `${specifier} has no export \`store\` that makes object stores`);
  return { store: store.fromUrl(baseDir, storageOptions), module: store.module };
}

/** For code that gives a URL without a configuration: the package as the working folder sees it, else as this one does. */
async function importFromHere(specifier: string): Promise<Readonly<Record<string, unknown>>> {
  let path: string | undefined;
  try {
    path = pathToFileURL(createRequire(join(process.cwd(), "omniq.js")).resolve(specifier)).href;
  } catch {
    path = undefined;
  }
  try {
    return (await import(path ?? specifier)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    if (path !== undefined) throw cause;
    throw new OmniQError(
      "OMNIQ_ADAPTER_NOT_FOUND",
      `The store of this URL is the package ${specifier}, which is not installed; run \`npm install ${specifier}\``,
      { cause },
    );
  }
}
