// `pnpm scale [backend] [dimension]`: how the cost of an operation grows with what a store holds; see docs/scale.md.
import Table from "cli-table3";
import { Command, InvalidArgumentError } from "commander";
import { backendNames, type BackendName } from "./frame/contestant.ts";
import { startHost } from "./hosts/host.ts";
import { dimensions } from "./scale/dimensions/index.ts";
import { head, row, writeDocument } from "./scale/document.ts";
import { measureGrowth, within, type Line } from "./scale/measure-growth.ts";
import { openStore } from "./scale/stores.ts";

const names = dimensions.map(({ name }) => name);
function listOf(allowed: readonly string[]): (text: string) => string[] {
  return (text) => {
    const given = text.split(",").map((one) => one.trim());
    const wrong = given.find((one) => !allowed.includes(one));
    if (wrong !== undefined) throw new InvalidArgumentError(`known are ${allowed.join(", ")}, not ${wrong}`);
    return given;
  };
}
function sizes(text: string): number[] {
  const given = text.split(",").map(Number);
  if (given.length < 2 || given.some((size, n) => !Number.isInteger(size) || size < 10 || size <= (given[n - 1] ?? 0)))
    throw new InvalidArgumentError("whole numbers from 10 that grow, by commas, at least two");
  return given;
}

const program = new Command("scale")
  .description("How the cost of an operation grows with what a store holds. Fails where a line is over its bound.")
  .argument("[backends]", `by commas, of ${backendNames.join(", ")}; default all`, listOf(backendNames))
  .argument("[dimensions]", `by commas, of ${names.join(", ")}; default all`, listOf(names))
  .option("--sizes <numbers>", "how many of the thing, by commas", sizes, [1_000, 1_000_000])
  .option("--write", "put the lines into docs/scale.md", false)
  .addHelpText(
    "after",
    `\nDimensions:\n${dimensions.map(({ name, about }) => `  ${name.padEnd(16)}${about}`).join("\n")}`,
  )
  .parse();
const options = program.opts<{ readonly sizes: readonly number[]; readonly write: boolean }>();
const [chosenBackends = [...backendNames], chosenDimensions = names] = program.processedArgs as (
  | string[]
  | undefined
)[];

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
const all: Line[] = [];
for (const backend of chosenBackends as BackendName[]) {
  const host = await startHost(backend);
  try {
    for (const dimension of dimensions.filter(({ name }) => chosenDimensions.includes(name))) {
      const largest = dimension.largest ?? Number.POSITIVE_INFINITY;
      const own = [...new Set(options.sizes.map((size) => Math.min(size, largest)))];
      const place = await host.makePlace();
      const store = await openStore(backend, place);
      try {
        all.push(
          ...(await measureGrowth(backend, store, place.serverPid, dimension, own, (what) => console.error(what))),
        );
      } catch (error) {
        const why = error instanceof Error ? error.message.slice(0, 80) : String(error);
        all.push({
          backend,
          dimension: dimension.name,
          operation: "",
          bound: 1.5,
          costs: [],
          longestStepMs: 0,
          error: why,
        });
      } finally {
        await store.close().catch((error: unknown) => console.error(error));
        await host.removePlace(place);
      }
    }
  } finally {
    await host.stop();
  }
}
const table = new Table({ head: [...head], style: { head: [] } });
for (const line of all) table.push([...row(line)]);
console.log(table.toString());
if (options.write) writeDocument(all);
const over = all.filter((line) => !within(line)).length;
console.log(`${all.length - over} passed, ${over} failed`);
process.exitCode = over === 0 ? 0 : 1;
