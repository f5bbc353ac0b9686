// A hundred callers that each add a task and wait for its result, again and again; one worker in the same process.
import { within } from "../frame/deadline.ts";
import { processorMeasures } from "../frame/drain.ts";
import { resultOf } from "../frame/ledger.ts";
import { startMeter } from "../frame/processor-time.ts";
import type { Measured, Scenario } from "../frame/scenario.ts";

const callers = 100;
const name = "round trips with result";

export const roundTrip: Scenario = {
  name: "round-trip",
  about: "adding a task and waiting for its result, 100 callers",
  fits: (_contestant, queue) => queue.roundTrip !== undefined,
  async run({ queue, ledger, scale, place }): Promise<readonly Measured[]> {
    const worker = await queue.work(callers, (payload) => {
      ledger.note(payload);
      return resultOf(payload);
    });
    const trip = async (): Promise<void> => {
      const payload = ledger.take(1)[0] as number;
      const result = await queue.roundTrip?.(payload);
      if (Number(result) !== resultOf(payload)) throw new Error(`task ${payload} gave ${String(result)}`);
    };
    await within("the first round trips", Promise.all(Array.from({ length: callers }, trip)));
    let trips = 0;
    const spent = startMeter(place.serverPid);
    const started = performance.now();
    const until = started + scale.targetMs;
    await within(
      "round trips",
      Promise.all(
        Array.from({ length: callers }, async () => {
          while (performance.now() < until) {
            await trip();
            trips++;
          }
        }),
      ),
      () => `${trips} came back`,
    );
    const seconds = (performance.now() - started) / 1_000;
    const { client, server } = spent();
    await worker.stop();
    return [
      { name, value: trips / seconds, unit: "/s" },
      ...processorMeasures(name, client / trips, server === undefined ? undefined : server / trips),
    ];
  },
};
