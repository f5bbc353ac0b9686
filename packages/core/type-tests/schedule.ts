// Schedules: cron with a zone, an interval, one time.
import assert from "node:assert/strict";
import { OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";
import { purge, sendEmail } from "./tasks.ts";
await using omniq = new OmniQ({ taskQueue: memory() });
await omniq.schedules.put("nightly-purge", { cron: "0 3 * * *", timeZone: "Europe/Berlin", task: purge.with() });
await omniq.schedules.put("digest", {
  everyMs: 60_000,
  maxRuns: 10,
  missed: "skip",
  task: sendEmail.with({ to: "ada@example.com", subject: "Digest" }, { priority: -5 }),
});
await omniq.schedules.put("once", { at: new Date("2027-01-01"), task: purge.with() });
await omniq.schedules.pause("digest");
const listed: string[] = [];
for await (const { id, nextAt } of omniq.schedules.list()) {
  nextAt satisfies number | null;
  listed.push(id);
}
assert.deepEqual(listed, ["digest", "nightly-purge", "once"]);
