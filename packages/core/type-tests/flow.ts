// A flow: tasks that depend on others, with their results under typed names.
import assert from "node:assert/strict";
import { OmniQ, allowFailure, defineTask } from "@omniq/core";
import { memory } from "@omniq/memory";
import { z } from "zod";

const fetchSales = defineTask({
  name: "fetch-sales",
  input: z.object({ month: z.string() }),
  run: () => ({ total: 1 }),
});
const fetchCosts = defineTask({
  name: "fetch-costs",
  input: z.object({ month: z.string() }),
  run: () => ({ costs: [1, 2] }),
});
const fetchRegion = defineTask({
  name: "fetch-region",
  input: z.object({ region: z.string() }),
  run: ({ region }) => ({ region, n: 1 }),
});

const report = defineTask({
  name: "report",
  input: z.object({ month: z.string() }),
  dependsOn: { sales: fetchSales, costs: allowFailure(fetchCosts), regions: [fetchRegion] },
  run: ({ month }, { dependencies: { sales, costs, regions } }) => {
    sales.total satisfies number;
    regions satisfies readonly { region: string; n: number }[];
    return {
      month,
      profit: sales.total - (costs.status === "completed" ? costs.output.costs.length : 0),
      regions: regions.length,
    };
  },
});
const publish = defineTask({
  name: "publish",
  dependsOn: { report },
  run: (_, { dependencies }) => dependencies.report.profit,
});

await using omniq = new OmniQ({ taskQueue: memory() });
await using worker = omniq.worker({ tasks: [fetchSales, fetchCosts, fetchRegion, report, publish] });
await worker.start();
const month = "2026-10";
const already = await omniq.enqueue(fetchSales, { month });
const handle = await omniq.enqueue(publish, undefined, {
  dependsOn: {
    report: report.with(
      { month },
      {
        dependsOn: {
          sales: already,
          costs: fetchCosts.with({ month }),
          regions: ["eu", "us"].map((region) => fetchRegion.with({ region })),
        },
      },
    ),
  },
});
const profit = await handle.result();
profit satisfies number;
assert.equal(profit, -1);
// Order only
const last = await omniq.enqueue(fetchSales, { month }, { after: [handle, already.id] });
assert.equal((await last.result()).total, 1);
