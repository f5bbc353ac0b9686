// `pnpm bench --profile`: profiles contestants at one kind of work each, prints the hottest functions, and draws flame graphs.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import type { Profiler } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackendName } from "../frame/contestant.ts";
import type { Entrant } from "../frame/discover.ts";
import { profileVariable } from "../frame/profile.ts";
import { runOne } from "../frame/rounds.ts";
import { startHost } from "../hosts/host.ts";
import { profiles, type ProfiledScenario } from "../scenarios/profiles.ts";
import { callTree } from "./call-tree.ts";
import { titles } from "./document.ts";
import { flameSvg } from "./flame.ts";
import { hottest } from "./hottest.ts";
import { showValue } from "./numbers.ts";

const slug = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");

/** `flame-redis.svg` is OmniQ's first kind of work, its drain at 100; of others the name says what they are. */
export function flameName(backend: BackendName, contestant: string, work: string): string {
  const parts = [
    backend,
    ...(contestant === "OmniQ" ? [] : [contestant]),
    ...(work === profiles[0]?.name ? [] : [work]),
  ];
  return `flame-${parts.map(slug).join("-")}.svg`;
}

export interface ProfilingOptions {
  readonly quick: boolean;
  /** The folder to write flame graphs to. */
  readonly flame?: string | undefined;
}

/** Answers whether all went well. */
export async function profileAll(
  backend: BackendName,
  entrants: readonly Entrant[],
  works: readonly ProfiledScenario[],
  { quick, flame }: ProfilingOptions,
): Promise<boolean> {
  const host = await startHost(backend);
  const folder = mkdtempSync(join(tmpdir(), "omniq-profile-"));
  let fine = true;
  try {
    for (const entrant of entrants) {
      for (const { name: work } of works) {
        const { name } = entrant.contestant;
        const svg = flameName(backend, name, work);
        const file = join(folder, svg.replace(/^flame-(.*)\.svg$/, "$1.cpuprofile"));
        process.env[profileVariable] = file;
        const { measures = [], error } = await runOne(host, entrant, work, quick);
        const title = `${titles[backend]}, ${name}`;
        console.log(
          `\n${title}: ${error ?? measures.map((one) => `${one.name} ${showValue(one.value, one)}`).join(", ")}`,
        );
        if (error !== undefined) {
          fine = false;
          continue;
        }
        const tree = callTree(JSON.parse(readFileSync(file, "utf8")) as Profiler.Profile);
        for (const hot of hottest(tree, 20)) console.log(`${(hot.share * 100).toFixed(1).padStart(6)} %  ${hot.name}`);
        console.log(`for Chrome's developer tools or speedscope: ${file}`);
        if (flame === undefined) continue;
        mkdirSync(flame, { recursive: true });
        writeFileSync(join(flame, svg), flameSvg(`${title}: ${work}`, tree));
        console.log(`flame graph: ${join(flame, svg)}`);
      }
    }
  } finally {
    await host.stop();
  }
  return fine;
}
