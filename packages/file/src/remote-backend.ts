// How a thread of the worker makes a connection of its own: from plain options, and the module of the store where that is known, since a thread
// does not know the configuration's folder, from which its package was found.
import type { RemoteBackend } from "@omniq/core";
import { conceal } from "@omniq/replica";

/** What a thread imports, and what it gives to the `adapter` there. */
export function remoteBackend(
  options: Readonly<Record<string, unknown>>,
  storeModule: string | undefined,
): RemoteBackend {
  // Sources load sources, the build loads the build.
  const suffix = import.meta.url.endsWith(".ts") ? "ts" : "js";
  if (storeModule === undefined)
    return { module: new URL(`./index.${suffix}`, import.meta.url).href, options: conceal(options) };
  // Threads load no TypeScript: a store that runs from sources is built beside them.
  const built = storeModule.replace(/\/src\/([^/]+)\.ts$/, "/dist/$1.js");
  return {
    module: new URL(`./remote-entry.${suffix}`, import.meta.url).href,
    options: conceal({ ...options, storeModule: built }),
  };
}
