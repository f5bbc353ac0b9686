// Runs scenarios for contestants in turn, each run in a process of its own on a place of its own, who begins changing with the round.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Entrant } from "./discover.ts";
import type { Host } from "../hosts/host.ts";
import type { RunAnswer, RunOrder } from "./runner.ts";

const program = fileURLToPath(new URL("runner.js", import.meta.url));
/** A run that is not over by then is ended, and has failed. */
const limitMs = 200_000;

export async function runOne(host: Host, entrant: Entrant, scenario: string, quick: boolean): Promise<RunAnswer> {
  const place = await host.makePlace();
  const order: RunOrder = { module: entrant.module, scenario, place, quick };
  const child = fork(program, [JSON.stringify(order)], { serialization: "advanced" });
  const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
  let answer: RunAnswer | undefined;
  child.on("message", (message: RunAnswer) => (answer = message));
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  clearTimeout(timer);
  await host.removePlace(place);
  return answer ?? { error: `the process of the run ended by ${signal ?? `code ${code}`}` };
}

/** The order of a round: each begins in turn. */
export function inTurn<T>(all: readonly T[], round: number): readonly T[] {
  const first = all.length === 0 ? 0 : round % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}
