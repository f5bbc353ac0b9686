import { runSuite, suites } from "@omniq/conformance";
import { memory } from "@omniq/memory";
import { test } from "vitest";
let now = Date.now();
test("probe", async () => {
  const clock = { now: () => now, advance: (ms: number) => { now += ms; } };
  const component = (process.env.COMP ?? "taskQueue") as "taskQueue";
  const t = Date.now();
  console.log(suites.taskQueue.length, suites.resultStorage.length, suites.eventStorage.length, suites.scheduleStorage.length);
  const rules = process.env.RULES?.split(",") as never;
  const report = await runSuite({ adapter: memory as never, options: (name) => ({ name, now: clock.now }), clock, components: [component], timeoutMs: 7000, rules });
  console.log(report.passed, report.leftOut, report.failed.length, Date.now() - t);
  for (const f of report.failed) { const e = f.error as Error; console.log(`FAIL ${f.rule}: ${f.title}\n   ${String(e?.message).split("\n").slice(0, 12).join(" ").slice(0, 400)}\n   ${(e?.stack ?? "").split("\n").filter((l) => l.includes("conformance/src")).slice(0, 2).map((l) => l.trim().replace(/.*conformance./, "")).join(" < ")}`); }
}, 600_000);
