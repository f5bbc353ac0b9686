// The kit is tested itself: for each rule there is a broken backend that it catches under the rule's key.
import { brokenBackends, rules, runBroken, runSuite, wholeBackends } from "@omniq/conformance";
import { afterAll, describe, expect, test } from "vitest";

const table: string[] = [];
// Their cases fail by waiting in real time, so one is enough.
const slow: readonly string[] = ["wake-up", "event-tail", "outage", "cancel-push"];

describe("broken backends", () => {
  for (const broken of brokenBackends) {
    test(`${broken.rule}: a ${broken.component} that ${broken.does} is caught`, async () => {
      const report = await runBroken(
        broken,
        slow.includes(broken.rule) ? { stopAtFailure: true, timeoutMs: 20_000 } : {},
      );
      const caught = report.failed.filter((one) => one.rule === broken.rule).length;
      table.push(
        `${broken.rule.padEnd(24)} ${broken.component.padEnd(16)} ${broken.does.padEnd(56)} ${caught} of ${caught + report.passed} cases`,
      );
      expect(caught).toBeGreaterThan(0);
    });
  }

  test("every rule has a broken backend", () => {
    const all: string[] = Object.values(rules).flat();
    expect(all.filter((rule) => !brokenBackends.some((broken) => broken.rule === rule))).toEqual([]);
  });

  for (const { rule, components, options } of wholeBackends) {
    test(`${rule}: a backend that only plays it passes, so it is the breaking that is caught`, async () => {
      const report = await runSuite({ ...options(), components, rules: [rule] });
      expect(report.failed).toEqual([]);
      expect(report.passed).toBeGreaterThanOrEqual(components.length);
    });
  }

  afterAll(() => console.log(table.sort().join("\n")));
});
