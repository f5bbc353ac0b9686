// Type test: a program that a user would write must compile (schedule).
import { OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";
import { purge, sendEmail } from "./tasks.ts";
const omniq = new OmniQ({ taskQueue: memory() });
await omniq.schedules.put("nightly-purge", { cron: "0 3 * * *", timeZone: "Europe/Berlin", task: purge.with() });
await omniq.schedules.put("digest", {
  everyMs: 60_000,
  maxRuns: 10,
  missed: "skip",
  task: sendEmail.with({ to: "a@b.c", subject: "Digest" }, { priority: -5 }),
});
await omniq.schedules.put("once", { at: new Date("2027-01-01"), task: purge.with() });
await omniq.schedules.pause("digest");
for await (const { id, nextAt } of omniq.schedules.list()) console.log(id, nextAt);
