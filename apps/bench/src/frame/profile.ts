// Draining at 100 under the CPU profiler: what `pnpm bench --profile` runs, and how its profile is read.
import { writeFileSync } from "node:fs";
import { Session, type Profiler } from "node:inspector/promises";
import { join } from "node:path";
import { countFor, drainHere, drainMeasures, fill } from "./drain.ts";
import type { Measured, Scenario } from "./scenario.ts";

/** Where the profile is left for a flame graph (Chrome's developer tools, speedscope): `OMNIQ_BENCH_PROFILE`. */
export const profileVariable = "OMNIQ_BENCH_PROFILE";

export const profileDrain: Scenario = {
  name: "profile",
  about: "draining at 100 under the CPU profiler",
  async run(run): Promise<readonly Measured[]> {
    await fill(run, run.scale.maxTasks / 5);
    const { rate } = await drainHere(run, 100, run.scale.maxTasks / 5);
    const count = countFor(rate, run.scale.targetMs * 3, run);
    await fill(run, count);
    const session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: 200 });
    await session.post("Profiler.start");
    const drained = await drainHere(run, 100, count);
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    const file = process.env[profileVariable] ?? join(run.place.folder, "drain.cpuprofile");
    writeFileSync(file, JSON.stringify(profile));
    return drainMeasures("drain at 100", drained);
  },
};

export interface Hot {
  readonly name: string;
  /** Part of the profile in the function itself, 0 to 1. */
  readonly share: number;
}

/** The functions with the most time of their own. */
export function hottest(profile: Profiler.Profile, count: number): readonly Hot[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, number>();
  let total = 0;
  for (const [index, id] of (profile.samples ?? []).entries()) {
    const spent = Math.max(0, profile.timeDeltas?.[index] ?? 0);
    const frame = nodes.get(id);
    // The profiler itself, at work on what it has found.
    if (frame === undefined || (frame.functionName === "dispatch" && frame.url === "")) continue;
    total += spent;
    const name = nameOf(frame);
    times.set(name, (times.get(name) ?? 0) + spent);
  }
  return [...times]
    .map(([name, time]) => ({ name, share: time / total }))
    .toSorted((a, b) => b.share - a.share)
    .slice(0, count);
}

/** The function, and its file from its package on. */
function nameOf({ functionName, url, lineNumber }: Profiler.Profile["nodes"][number]["callFrame"]): string {
  const file = url.replace(/^.*\/node_modules\//, "").replace(/^.*\/(packages|apps)\//, "$1/");
  return `${functionName || "(anonymous)"}${file === "" ? "" : ` ${file}:${lineNumber + 1}`}`;
}
