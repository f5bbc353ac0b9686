// One run: a scenario for one contestant, in a process of its own. Started by `rounds.ts`; answers with measures or an error.
import { scenarios } from "../scenarios/index.ts";
import { profiles } from "../scenarios/profiles.ts";
import type { Contestant, Place } from "./contestant.ts";
import { shortenWaits } from "./deadline.ts";
import { Ledger } from "./ledger.ts";
import { fullScale, quickScale, type Measured, type Run } from "./scenario.ts";

export interface RunOrder {
  readonly module: string;
  readonly scenario: string;
  readonly place: Place;
  readonly quick: boolean;
}
export interface RunAnswer {
  /** `undefined` when the contestant cannot take part in the scenario. */
  readonly measures?: readonly Measured[];
  /** Tasks that were added; each was found done once, or waiting. */
  readonly tasks?: number;
  readonly error?: string;
}

async function perform({ module, scenario: name, place, quick }: RunOrder): Promise<RunAnswer> {
  const scenario = [...scenarios, ...profiles].find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  const { contestant } = (await import(module)) as { contestant: Contestant };
  const queue = await contestant.open(place);
  if (scenario.fits?.(contestant, queue) === false) return {};
  if (quick) shortenWaits();
  const ledger = new Ledger();
  const run: Run = { contestant, module, place, queue, ledger, scale: quick ? quickScale : fullScale };
  const measures = await scenario.run(run);
  // What a scenario leaves waiting must be there; a contestant that can't count must be drained.
  if (ledger.left > 0 && queue.waiting === undefined)
    throw new Error(`${ledger.left} of ${ledger.given} tasks never done`);
  ledger.check((await queue.waiting?.()) ?? 0);
  if (queue.storedResults !== undefined) await ledger.checkResults(queue.storedResults());
  await queue.close();
  return { measures, tasks: ledger.given };
}

// Whoever started it is gone.
process.once("disconnect", () => process.exit(1));
let answer: RunAnswer;
try {
  answer = await perform(JSON.parse(process.argv[2] as string) as RunOrder);
} catch (error) {
  answer = { error: error instanceof Error ? error.message : String(error) };
}
await new Promise((sent) => process.send?.(answer, sent));
// Some contestants have timers with no end of their own.
process.exit();
