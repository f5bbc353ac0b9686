// The suites without a test runner: for broken queues, for counting, and for people who look at an adapter by hand.
import type { Components } from "@omniq/core";
import type { Rule } from "./rules.ts";
import type { Case } from "./suite.ts";
import { componentOf, defaultTimeoutMs, inWorld, runCase } from "./run-case.ts";
import { type ComponentName, componentNames, suites } from "./suites.ts";
import type { WorldOptions } from "./world.ts";

export interface RunOptions extends WorldOptions {
  /** Default: all four. */
  readonly components?: readonly ComponentName[] | undefined;
  /** Only the cases of these rules. Default: all. */
  readonly rules?: readonly Rule[] | undefined;
  /** End with the first case that fails. */
  readonly stopAtFailure?: boolean | undefined;
  /** A shorter limit of time for each case, in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

export interface FailedCase {
  readonly component: ComponentName;
  readonly rule: Rule;
  readonly title: string;
  readonly error: unknown;
}

export interface SuiteReport {
  readonly passed: number;
  readonly failed: readonly FailedCase[];
  /** Cases that can not run here, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Why each case can not run on this backend, if so; asked in one world, since the reason is the backend's and not the case's. */
export async function leftOutReasons<K extends ComponentName>(
  options: WorldOptions,
  kind: K,
  cases: readonly Case<Components[K]>[],
): Promise<readonly (string | undefined)[]> {
  return inWorld(options, defaultTimeoutMs, async (world) => {
    const component = componentOf(world.backend, kind);
    return cases.map((one) => one.unless?.(world, component));
  });
}

/** Runs the suites one case after the other. Never rejects for a case that fails. */
export async function runSuite(options: RunOptions): Promise<SuiteReport> {
  const leftOut: Record<string, number> = {};
  const failed: FailedCase[] = [];
  let passed = 0;

  const runComponent = async <K extends ComponentName>(kind: K): Promise<void> => {
    const all = suites[kind] as readonly Case<Components[K]>[];
    const cases = all.filter((one) => options.rules?.includes(one.rule) ?? true);
    if (cases.length === 0) return;
    const reasons = await leftOutReasons(options, kind, cases);
    for (const [index, one] of cases.entries()) {
      const reason = reasons[index];
      if (reason !== undefined) {
        leftOut[reason] = (leftOut[reason] ?? 0) + 1;
        continue;
      }
      try {
        const timeoutMs = Math.min(options.timeoutMs ?? Infinity, one.timeoutMs ?? defaultTimeoutMs);
        await runCase(options, kind, { ...one, timeoutMs });
        passed += 1;
      } catch (error) {
        failed.push({ component: kind, rule: one.rule, title: one.title, error });
        if (options.stopAtFailure === true) return;
      }
    }
  };
  for (const kind of options.components ?? componentNames) {
    await runComponent(kind);
    if (options.stopAtFailure === true && failed.length > 0) break;
  }
  return { passed, failed, leftOut };
}
