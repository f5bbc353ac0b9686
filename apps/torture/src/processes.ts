// A crew of processes. Who takes over from a dead one takes its place, so that the plan hits the same kind.
import { fork, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { clockEnvironment, forgetClock, setClock } from "./clocks.ts";
import type { Crew, CrewOptions } from "./crew.ts";
import type { FaultSpan } from "./history.ts";
import { hostMs } from "./host-time.ts";

interface Place {
  readonly program: "worker" | "producer";
  readonly rest: readonly string[];
  child: ChildProcess | undefined;
  journal: string;
  /** Where its clock is set. */
  clock: string | undefined;
  /** It is left alone by other faults. */
  asleep: boolean;
  /** A suspension is under way, whose end would wake it. */
  suspended: boolean;
  /** It was killed or told to end, and is about to be gone. */
  leaving: boolean;
}

/** A worker that is stopped from outside. */
export interface Sleeper {
  readonly pid: number;
  readonly journal: string;
  /** It goes on: what it did not do until now is explained. */
  wake(): void;
  lives(): boolean;
  /** Other faults may hit it again. */
  release(): void;
}

export class ProcessCrew implements Crew {
  readonly faults: FaultSpan[] = [];
  readonly ends: number[] = [];
  readonly unexpected: string[] = [];
  readonly #options: CrewOptions;
  readonly #places: Place[] = [];
  #serial = 0;
  #ending = false;

  constructor(options: CrewOptions) {
    this.#options = options;
    const place = (program: Place["program"], ...rest: readonly string[]): void => {
      const made: Place = {
        program,
        rest,
        child: undefined,
        journal: "",
        clock: undefined,
        asleep: false,
        suspended: false,
        leaving: false,
      };
      this.#places.push(made);
      this.#start(made);
    };
    for (let index = 0; index < options.workers; index++) place("worker", "torture");
    place("worker", "poison");
    for (let index = 0; index < options.producers; index++)
      place("producer", String(options.seed + index), String(options.until));
  }

  #start(place: Place): void {
    const { config, journals, clockLibrary } = this.#options;
    const { program, rest } = place;
    const name = `${program}-${++this.#serial}`;
    place.journal = join(journals, `${name}.jsonl`);
    // A clock of its own, or the host's, by the file that this process has too.
    let environment: Record<string, string | undefined> = { FAKETIME_SHARED: undefined };
    place.clock = undefined;
    if (clockLibrary !== undefined) {
      place.clock = join(journals, "..", `${name}.clock`);
      setClock(place.clock, 0);
      environment = clockEnvironment(clockLibrary, place.clock);
    }
    const child = fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [config, place.journal, ...rest], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...environment },
    });
    let said = "";
    child.stderr?.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-2_000)));
    place.child = child;
    place.suspended = false;
    place.leaving = false;
    child.once("exit", (code, signal) => {
      place.child = undefined;
      this.ends.push(hostMs());
      if (child.pid !== undefined) {
        forgetClock(child.pid);
        if (signal !== null) this.faults.push({ pid: child.pid, from: hostMs() - 100, to: hostMs() });
      }
      // A producer that ended by itself is done; one that failed is a finding.
      if (code !== 0 && code !== null) this.unexpected.push(`${program} ${child.pid} ended with ${code}: ${said}`);
      if (!this.#ending && (program === "worker" || code !== 0)) this.#start(place);
    });
  }

  /** Who is in a place and not asleep. */
  #awake(place: number): ChildProcess | undefined {
    const found = this.#places[place];
    return found?.asleep === true ? undefined : found?.child;
  }
  kill(place: number): boolean {
    return this.#dismiss(place, "SIGKILL");
  }
  stop(place: number): boolean {
    this.ends.push(hostMs());
    return this.#dismiss(place, "SIGTERM");
  }
  #dismiss(place: number, signal: "SIGKILL" | "SIGTERM"): boolean {
    const found = this.#places[place];
    const child = this.#awake(place);
    if (found === undefined || child === undefined) return false;
    found.leaving = true;
    return child.kill(signal);
  }
  /** Someone else is about to stop it; undefined where nobody is, or is about to be. */
  putToSleep(place: number): Sleeper | undefined {
    const found = this.#places[place];
    const pid = found?.child?.pid;
    if (found === undefined || pid === undefined) return undefined;
    if (found.asleep || found.suspended || found.leaving) return undefined;
    const { child, journal } = found;
    const from = hostMs();
    found.asleep = true;
    return {
      pid,
      journal,
      wake: () => {
        this.faults.push({ pid, from, to: hostMs() + 1_000 });
        this.ends.push(hostMs());
      },
      lives: () => found.child === child,
      release: () => void (found.asleep = false),
    };
  }
  suspend(place: number, stopMs: number): boolean {
    const found = this.#places[place];
    const child = this.#awake(place);
    if (found === undefined || child?.pid === undefined || !child.kill("SIGSTOP")) return false;
    found.suspended = true;
    this.faults.push({ pid: child.pid, from: hostMs(), to: hostMs() + stopMs + 1_000 });
    void sleep(stopMs).then(() => {
      child.kill("SIGCONT");
      if (found.child === child) found.suspended = false;
      // What it was told meanwhile it does now.
      this.ends.push(hostMs());
    });
    return true;
  }
  setClock(place: number, offMs: number): boolean {
    const found = this.#places[place];
    if (found?.child === undefined || found.clock === undefined) return false;
    setClock(found.clock, offMs);
    return true;
  }
  producing(): boolean {
    return this.#places.some(({ program, child }) => program === "producer" && child !== undefined);
  }
  async end(): Promise<void> {
    this.#ending = true;
    const children = this.#places.flatMap(({ child }) => child ?? []);
    await Promise.all(
      children.map(
        (child) =>
          new Promise((resolve) => {
            child.once("exit", resolve);
            child.kill("SIGTERM");
          }),
      ),
    );
  }
}
