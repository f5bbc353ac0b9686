// Runs work under the CPU profiler of this process and leaves the profile in a file.
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";
import type { Run } from "./scenario.ts";

/** Where the profile is left, for viewers (Chrome's developer tools, speedscope), too: `OMNIQ_BENCH_PROFILE`. */
export const profileVariable = "OMNIQ_BENCH_PROFILE";

const intervalMicroseconds = 200;

export async function underProfiler<T>({ place }: Run, work: () => Promise<T>): Promise<T> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: intervalMicroseconds });
  await session.post("Profiler.start");
  const answer = await work();
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  writeFileSync(process.env[profileVariable] ?? join(place.folder, "bench.cpuprofile"), JSON.stringify(profile));
  return answer;
}
