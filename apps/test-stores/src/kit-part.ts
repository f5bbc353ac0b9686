// Which part of the conformance kit a cloud store runs in the test command: the whole kit runs on the same log on a local disk there,
// and on each cloud store by `pnpm conformance file-s3`.

type Test = (name: string, body: () => Promise<void>, timeoutMs?: number) => unknown;

/** Rules that stand on the store, not on the state machine that replays the log. */
const rules = [
  "enqueue-durable",
  "lease-excludes",
  "lease-expiry-redelivers",
  "settle-fenced",
  "wake-up",
  "result-wait",
  "event-tail",
  "schedule-once",
  "outage",
  "isolation",
  "close",
];
/** Of rules with many cases this many of each component are enough here. */
const ofEachRule = 2;

/** Registers all tests where `OMNIQ_TEST_KIT` is `whole`, else the first few of each rule that stands on the store. */
export function partOfKit(test: Test): Test {
  if (process.env["OMNIQ_TEST_KIT"] === "whole") return test;
  const registered = new Map<string, number>();
  return (name, body, timeoutMs) => {
    const rule = /^([a-z-]+): /.exec(name)?.[1];
    const count = (registered.get(rule ?? "") ?? 0) + 1;
    registered.set(rule ?? "", count);
    // Races and kills between processes are what a store is for.
    const between = /process|kill -9/.test(name);
    if (rule === undefined ? name.startsWith("capabilities") : rules.includes(rule) && (count <= ofEachRule || between))
      test(name, body, timeoutMs);
  };
}
