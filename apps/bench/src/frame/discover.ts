// Finds the contestants of a backend: every file in `contestants/<backend>/` is one.
import { readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { BackendName, Contestant } from "./contestant.ts";

export interface Entrant {
  readonly contestant: Contestant;
  /** A URL that can be imported. */
  readonly module: string;
}

/** Ours first, then by name. `more` are files of one's own. */
export async function entrantsOf(backend: BackendName, more: readonly string[]): Promise<readonly Entrant[]> {
  const folder = new URL(`../contestants/${backend}/`, import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const modules = [...files.map((name) => new URL(name, folder).href), ...more.map((path) => pathToFileURL(path).href)];
  const entrants = await Promise.all(
    modules.map(async (module) => ({ module, ...((await import(module)) as { contestant: Contestant }) })),
  );
  const rank = ({ contestant }: Entrant): string => `${contestant.ours ? 0 : 1}${contestant.name}`;
  return entrants.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}
