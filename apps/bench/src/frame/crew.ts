// Worker processes of one contestant, and draining by them.
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { cores, pin } from "./cores.ts";
import { within } from "./deadline.ts";
import type { Drained } from "./drain.ts";
import { startMeter } from "./processor-time.ts";
import type { Run } from "./scenario.ts";
import type { WorkerMessage, WorkerOrder } from "./worker-process.ts";

const program = fileURLToPath(new URL("worker-process.js", import.meta.url));

export class WorkerProcess {
  readonly #child: ChildProcess;
  #hear: (message: WorkerMessage) => void = () => {};
  #fail: (error: Error) => void = () => {};

  /** `core` pins it there, where it is not the client's. */
  constructor(order: WorkerOrder, core?: number) {
    this.#child = fork(program, [JSON.stringify(order)], { serialization: "advanced" });
    if (core !== undefined && this.#child.pid !== undefined) pin(this.#child.pid, core);
    this.#child.on("message", (message: WorkerMessage) => this.#hear(message));
    this.#child.on("exit", (code) => this.#fail(new Error(`a worker process ended with code ${code}`)));
  }
  /** Resolves with the first message of that kind; the others go to `else`. */
  async next<Kind extends WorkerMessage["kind"]>(
    kind: Kind,
    otherwise: (message: WorkerMessage) => void = () => {},
  ): Promise<Extract<WorkerMessage, { kind: Kind }>> {
    return await within(
      `a worker process to say "${kind}"`,
      new Promise((resolve, reject) => {
        this.#fail = reject;
        this.#hear = (message) => {
          if (message.kind === kind) resolve(message as Extract<WorkerMessage, { kind: Kind }>);
          else otherwise(message);
        };
      }),
    );
  }
  listen(hear: (message: WorkerMessage) => void, fail: (error: Error) => void): void {
    this.#hear = hear;
    this.#fail = fail;
  }
  /** The first time to begin, the second time to stop. */
  tell(): void {
    this.#child.send("on");
  }
  end(): void {
    this.#fail = () => {};
    this.#child.kill("SIGKILL");
  }
}

/**
 * Drains `warm` + `count` tasks, which wait already, by new processes. The clock and the processor time are those of the last `count`: the
 * clock from the start of one task to that of another, as in one process.
 */
export async function drainByProcesses(
  run: Run,
  concurrency: number,
  processes: number,
  warm: number,
  count: number,
): Promise<Drained> {
  const all = warm + count;
  const { module, place, ledger } = run;
  const order: WorkerOrder = { module, place, concurrency, announce: false };
  // Without a server to share the cores with, the processes have one each.
  const coreOf = (index: number): number | undefined =>
    place.serverPid === undefined && index % 2 === 1 ? cores.server : undefined;
  const crew = Array.from({ length: processes }, (_, index) => new WorkerProcess(order, coreOf(index)));
  try {
    await Promise.all(crew.map((worker) => worker.next("ready")));
    let spent = startMeter(place.serverPid);
    const doneBy = crew.map(() => 0);
    const usedBy = crew.map(() => 0);
    const total = (): number => sum(doneBy);
    let warmed = 0;
    let usedBefore = 0;
    await within(
      `${all} tasks to be done by ${processes} processes`,
      new Promise<void>((resolve, reject) => {
        for (const [index, worker] of crew.entries()) {
          worker.listen((message) => {
            if (message.kind !== "progress") return;
            doneBy[index] = message.done;
            usedBy[index] = message.microseconds;
            if (warmed === 0 && total() >= warm) {
              warmed = total();
              usedBefore = sum(usedBy);
              spent = startMeter(place.serverPid);
            }
            if (total() >= all) resolve();
          }, reject);
          worker.tell();
        }
      }),
      () => `${total()} were`,
    );
    const endings = crew.map((worker) => {
      const over = worker.next("over");
      worker.tell();
      return over;
    });
    let used = 0;
    const starts: number[] = [];
    for (const { payloads, times, microseconds } of await Promise.all(endings)) {
      for (const payload of payloads) ledger.note(payload);
      for (const at of times) starts.push(at);
      used += microseconds;
    }
    const { server } = spent();
    const sorted = Float64Array.from(starts).toSorted();
    const seconds = ((sorted[all - 1] ?? 0) - (sorted[warm - 1] ?? 0)) / 1_000;
    // Progress is told a hundred times a second, so somewhat more than `warm` were done when the meters began.
    const metered = Math.max(1, all - warmed);
    return { rate: count / seconds, client: (used - usedBefore) / metered, server: server && server / metered };
  } finally {
    for (const worker of crew) worker.end();
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
