// The kit's one entry: registers all cases with the test runner of the adapter's own test.
import assert from "node:assert/strict";
import type { Components } from "@omniq/core";
import { componentOf, defaultTimeoutMs, runCase } from "./run-case.ts";
import type { Rule } from "./rules.ts";
import { leftOutReasons } from "./run-suite.ts";
import type { AnyBackend, Case, World } from "./suite.ts";
import { type ComponentName, componentNames, suiteNames, suites } from "./suites.ts";
import { capabilitiesOf, type WorldOptions } from "./world.ts";

/** A test runner: vitest's functions as they are; node:test's `test` takes its limit of time in another place (see the README). */
export interface Runner {
  describe(name: string, body: () => void): unknown;
  /** `timeoutMs` is above every limit that the case keeps itself. */
  test(name: string, body: () => Promise<void>, timeoutMs?: number): unknown;
}

export interface ConformanceOptions extends WorldOptions, Runner {
  /** The components that the backend has. Default: all four; one that is missing then fails. */
  readonly components?: readonly ComponentName[] | undefined;
  /** Rules that are known not to hold, and why. The cases of such a rule run, and the suite fails when all of them pass. */
  readonly knownGaps?: Partial<Record<Rule, string>> | undefined;
}

/** What the runner needs above the case's own limit: opening, closing, cleaning up. */
const graceMs = 30_000;

/**
 * Registers the conformance suite of an adapter, at once and without await. Which cases apply is read from a backend that is made here
 * from a probe's options and closed in the first test; what does not apply has a test that says why and checks that it is so.
 */
export function testBackend(options: ConformanceOptions): void {
  const { describe, test } = options;
  const probe = options.adapter(options.options("omniq_probe") as never);
  const components = options.components ?? componentNames;
  describe(`conformance of ${probe.type}`, () => {
    test(
      "capabilities are read from a backend, whose makers answer with the same component each time",
      async () => {
        try {
          for (const kind of components) assert.equal(componentOf(probe, kind), componentOf(probe, kind));
          assert.equal(probe.contract, 1);
          await probe.check();
        } finally {
          await probe.close();
          await options.cleanUp?.("omniq_probe");
        }
      },
      graceMs,
    );
    for (const kind of components) register(options, kind, probe);
  });
}

function register<K extends ComponentName>(options: ConformanceOptions, kind: K, probe: AnyBackend): void {
  const { describe, test, knownGaps = {} } = options;
  const cases = suites[kind] as readonly Case<Components[K]>[];
  const world = probeWorld(options, probe);
  const has = probe[kind] !== undefined;
  const leftOut = new Map<string, Case<Components[K]>[]>();
  const gaps = new Map<Rule, Case<Components[K]>[]>();

  describe(suiteNames[kind], () => {
    for (const one of cases) {
      const reason = has ? one.unless?.(world, componentOf(probe, kind)) : undefined;
      if (reason !== undefined) push(leftOut, reason, one);
      else if (knownGaps[one.rule] !== undefined) push(gaps, one.rule, one);
      else
        test(
          `${one.rule}: ${one.title}`,
          () => runCase(options, kind, one),
          (one.timeoutMs ?? defaultTimeoutMs) + graceMs,
        );
    }
    for (const [reason, left] of leftOut) {
      test(
        `${left.length} cases do not apply: ${reason}`,
        async () => {
          assert.deepEqual(new Set(await leftOutReasons(options, kind, left)), new Set([reason]));
        },
        graceMs,
      );
    }
    for (const [rule, open] of gaps) {
      const timeoutMs = open.reduce((sum, one) => sum + (one.timeoutMs ?? defaultTimeoutMs), graceMs);
      test(
        `${rule}: known gap: ${knownGaps[rule]}`,
        async () => {
          for (const one of open) {
            const held = await runCase(options, kind, one).then(
              () => true,
              () => false,
            );
            if (!held) return;
          }
          assert.fail(`all ${open.length} cases of ${rule} pass now; take it out of knownGaps`);
        },
        timeoutMs,
      );
    }
  });
}

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** What the reasons of cases look at, without a world of its own; the tests of the reasons ask again in a real one. */
function probeWorld(options: ConformanceOptions, probe: AnyBackend): World {
  const capabilities = capabilitiesOf(probe);
  const { reopen, module, clock } = options;
  const never = async (): Promise<never> => {
    throw new Error("a case's reason only looks");
  };
  return {
    namespace: "omniq_probe",
    backend: probe,
    open: never,
    clock: { controlled: clock !== undefined, now: () => clock?.now() ?? Date.now(), pass: never },
    processes: module === undefined || capabilities?.reach === "process" ? undefined : { run: never, start: never },
    outage: options.outage,
    reopen: reopen === false || (reopen === undefined && capabilities?.durable !== true) ? undefined : never,
    damage: options.damage === undefined ? undefined : never,
    transaction: options.transaction === undefined ? undefined : never,
  };
}
