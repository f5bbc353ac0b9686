// A hundred callers that each add a task and wait for its result, again and again; one worker in the same process.
import { processorMeasures } from "../frame/drain.ts";
import { resultOf } from "../frame/ledger.ts";
import { startMeter } from "../frame/processor-time.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";

const callers = 100;
const name = "round trips with result";
/** A result that has not come by then is taken as lost: some contestants begin to listen when the task may be over already. */
const patienceMs = 5_000;

/** Gives up what is late: one timer for all trips, since one for each, with what ends it, cost more than the trip itself. */
class Patience {
  readonly #waiting = new Set<{ readonly until: number; readonly giveUp: () => void }>();
  readonly #timer = setInterval(() => {
    const now = performance.now();
    for (const { until, giveUp } of this.#waiting) if (until <= now) giveUp();
  }, 100);

  /** What came, or `undefined` when nothing came in time. */
  wait<T>(answer: Promise<T>): Promise<{ readonly result: T } | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = { until: performance.now() + patienceMs, giveUp: () => end(() => resolve(undefined)) };
      const end = (tell: () => void): void => {
        this.#waiting.delete(waiting);
        tell();
      };
      this.#waiting.add(waiting);
      // It may still fail when the queue is closed; nobody is told of that any more.
      answer.then(
        (result) => end(() => resolve({ result })),
        (error: unknown) => end(() => reject(error as Error)),
      );
    });
  }

  end(): void {
    clearInterval(this.#timer);
  }
}

/** Adds a task and waits for its result; false when none came. */
async function trip({ queue, ledger }: Run, patience: Patience): Promise<boolean> {
  const payload = ledger.take(1)[0] as number;
  const came = await patience.wait<unknown>(queue.roundTrip?.(payload) ?? Promise.resolve());
  if (came === undefined) return false;
  if (Number(came.result) !== resultOf(payload)) throw new Error(`task ${payload} gave ${String(came.result)}`);
  return true;
}

/** Trips of all callers, again and again. */
async function trips(
  run: Run,
  milliseconds: number,
): Promise<{ readonly all: number; readonly lost: number; readonly inTime: number; readonly ended: number }> {
  let [all, inTime, ended] = [0, 0, 0];
  const patience = new Patience();
  const until = performance.now() + milliseconds;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      do {
        all++;
        if (await trip(run, patience)) {
          inTime++;
          ended = performance.now();
        }
      } while (performance.now() < until);
    }),
  ).finally(() => patience.end());
  return { all, lost: all - inTime, inTime, ended };
}

export const roundTrip: Scenario = {
  name: "round-trip",
  about: "adding a task and waiting for its result, 100 callers",
  fits: (_contestant, queue) => queue.roundTrip !== undefined,
  async run(run): Promise<readonly Measured[]> {
    const { contestant, queue, ledger, scale, place } = run;
    const worker = await queue.work(callers, (payload) => {
      ledger.note(payload);
      return resultOf(payload);
    });
    const warm = await trips(run, scale.warmMs);
    const spent = startMeter(place.serverPid);
    const started = performance.now();
    const { inTime, ended, ...timed } = await trips(run, scale.targetMs);
    const { client, server } = spent();
    const [all, lost] = [warm.all + timed.all, warm.lost + timed.lost];
    await worker.stop();
    if (contestant.ours && lost > 0) throw new Error(`${lost} of ${all} results did not come`);
    return [
      { name, value: inTime / ((ended - started) / 1_000), unit: "/s" },
      ...processorMeasures(name, client / inTime, server === undefined ? undefined : server / inTime),
      { name: `${name}: results that never came`, value: (lost / all) * 100, unit: "%", detail: true },
    ];
  },
};
