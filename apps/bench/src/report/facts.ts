// Versions and the machine, as they are found, not as somebody wrote them down.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { canPin } from "../frame/cores.ts";
import type { Contestant } from "../frame/contestant.ts";
import type { ContestantFacts } from "./results.ts";

/** The version of an installed package, found from the file that importing it gives. */
function versionOf(name: string, from: string): string {
  let folder = dirname(createRequire(from).resolve(name));
  for (;;) {
    const path = join(folder, "package.json");
    if (existsSync(path)) {
      const manifest = JSON.parse(readFileSync(path, "utf8")) as { name?: string; version?: string };
      if (manifest.name === name && manifest.version !== undefined) return manifest.version;
    }
    if (dirname(folder) === folder) throw new Error(`no package.json of ${name}`);
    folder = dirname(folder);
  }
}

export function factsOf(
  { name, ours, rival, packages, settings, durability, results }: Contestant,
  module: string,
): ContestantFacts {
  const versions = packages.map((one) => `${one} ${versionOf(one, module)}`).join(", ");
  return { name, ours, rival: rival ?? "OmniQ", versions, settings, durability, results };
}

/** Node, processor and pinning. */
export function machine(): string {
  const all = cpus();
  const pinned = canPin ? "server and client pinned to a core each" : "not pinned";
  return `Node ${process.versions.node}, ${all.length} × ${all[0]?.model.trim() ?? "unknown processor"}, ${pinned}`;
}
