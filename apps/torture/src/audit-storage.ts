// What the store says of itself when all is over: counts equal lists, nothing is left, each occurrence of a schedule once.
import type { OmniQ } from "@omniq/core";

export async function checkCounts(omniq: OmniQ, violations: string[]): Promise<void> {
  for (const queue of ["torture", "poison"]) {
    const counts = await omniq.queue(queue).counts();
    const listed = new Map<string, number>();
    for await (const { state } of omniq.tasks.list({ queue })) listed.set(state, (listed.get(state) ?? 0) + 1);
    for (const state of ["blocked", "scheduled", "ready", "active", "failed"] as const) {
      if (counts[state] !== (listed.get(state) ?? 0))
        violations.push(`queue ${queue} counts ${counts[state]} ${state} and lists ${listed.get(state) ?? 0}`);
      if (state !== "failed" && counts[state] > 0)
        violations.push(`queue ${queue} still has ${counts[state]} ${state}`);
    }
    if (counts.unrecorded > 0) violations.push(`queue ${queue} has ${counts.unrecorded} unrecorded outcomes`);
  }
}

/** Every occurrence that the schedule counts has a task of its own. */
export async function checkSchedule(
  omniq: OmniQ,
  id: string,
  results: ReadonlyMap<string, unknown>,
  violations: string[],
): Promise<number> {
  const schedule = await omniq.schedules.get(id);
  const times = [...results.keys()]
    .filter((task) => task.startsWith(`schedule:${id}@`))
    .map((task) => Date.parse(task.slice(`schedule:${id}@`.length)))
    .sort((a, b) => a - b);
  // A pause that falls between an enqueue and its advance leaves the count behind until the schedule goes on.
  if (schedule === undefined || times.length < schedule.runs)
    violations.push(`schedule ${id} counts ${schedule?.runs} runs and has ${times.length} tasks with results`);
  for (let index = 1; index < times.length; index++) {
    const gap = (times[index] ?? 0) - (times[index - 1] ?? 0);
    if (gap !== 1_000) violations.push(`schedule ${id} has a gap of ${gap} ms between occurrences`);
  }
  return times.length;
}
