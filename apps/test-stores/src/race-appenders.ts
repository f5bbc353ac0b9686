// Many processes that append to one log in one bucket while writes are doubtful and processes die; then the log is read and judged.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ObjectStore } from "@omniq/file";
import { positionOf } from "./log-position.ts";
import { randomFaults } from "./random-faults.ts";
import type { Stand } from "./stand.ts";

export interface AppenderRace {
  readonly stand: Stand;
  /** URL of the built module that exports `store`. */
  readonly module: URL;
  /** Another client of the same place, to read the log with. */
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly processes: number;
  readonly appends: number;
  readonly seed: number;
}
export interface AppenderReport {
  readonly acknowledged: number;
  /** What was neither acknowledged nor lost for certain: the last words of the dead. */
  readonly doubtful: number;
  readonly injected: Readonly<Record<string, number>>;
}

/**
 * Runs the race: a round trip of 50 ms, every fifth request faulty, one process killed in the middle. Rejects unless every acknowledged
 * body is in the log once, at the position that was acknowledged, and the log has no hole and nothing that nobody sent.
 */
export async function raceAppenders(race: AppenderRace): Promise<AppenderReport> {
  const { stand, store } = race;
  const { fault, injected } = randomFaults(race.seed, 0.2);
  stand.server.roundTripMs = 50;
  stand.server.fault = fault;
  const sent = new Set<string>();
  const acknowledged = new Map<string, number>();
  const url = stand.url(race.prefix);
  const start = { module: race.module.href, url, storageOptions: stand.storageOptions, appends: race.appends };
  // Child processes have no TypeScript: sources start the build.
  const program = fileURLToPath(new URL("../dist/appender.js", import.meta.url));
  const endings = Array.from({ length: race.processes }, async (_, i) => {
    const child = fork(program, [JSON.stringify(start)], {
      // A test runner's own conditions would lead to the sources.
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let said = "";
    let mine = 0;
    child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    child.on(
      "message",
      (message: { readonly sent?: string; readonly acknowledged?: string; readonly position?: number }) => {
        if (message.sent !== undefined) sent.add(message.sent);
        if (message.acknowledged === undefined || message.position === undefined) return;
        acknowledged.set(message.acknowledged, message.position);
        mine += 1;
        if (i === 0 && mine === Math.ceil(race.appends / 2)) child.kill("SIGKILL");
      },
    );
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.once("close", (code, signal) => resolve([code, signal])),
    );
    assert.ok(code === 0 || (i === 0 && signal === "SIGKILL"), `an appender ended with ${code ?? signal}: ${said}`);
  });
  try {
    await Promise.all(endings);
  } finally {
    stand.server.fault = undefined;
    stand.server.roundTripMs = 0;
  }
  // What was under way when its process died may land for as long as the slowest fault.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const { objects } = await store.list("log/");
  const bodies = await Promise.all(
    objects.map(async ({ key }) => new TextDecoder().decode((await store.read(key)).object?.body)),
  );
  for (const [i, { key }] of objects.entries()) assert.equal(key, positionOf(i + 1), "the log has a hole");
  assert.equal(new Set(bodies).size, bodies.length, "a body is in the log twice");
  for (const body of bodies) assert.ok(sent.has(body), "the log holds what nobody sent");
  for (const [body, position] of acknowledged)
    assert.equal(bodies[position - 1], body, "what was acknowledged is not there");
  assert.ok(acknowledged.size >= (race.processes - 1) * race.appends);
  return { acknowledged: acknowledged.size, doubtful: sent.size - acknowledged.size, injected };
}
