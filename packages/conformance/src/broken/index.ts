// One broken backend or more for each rule, which the kit must catch under the rule's key.
import type { Rule } from "../rules.ts";
import { type RunOptions, runSuite, type SuiteReport } from "../run-suite.ts";
import { type ComponentName, componentNames } from "../suites.ts";
import type { WorldOptions } from "../world.ts";
import {
  changed,
  durableOptions,
  outageOptions,
  referenceOptions,
  sharedOptions,
  transactionalOptions,
} from "./backends.ts";
import { droppingOptions, givingUpOptions } from "./damage.ts";
import { breakComponent } from "./override.ts";
import { brokenControl } from "./queues-control.ts";
import { brokenDelivery, storing } from "./queues.ts";
import { brokenEvents, brokenResults, brokenSchedules } from "./storages.ts";

/** A backend with one rule broken. */
export interface BrokenBackend {
  readonly rule: Rule;
  readonly component: ComponentName;
  readonly does: string;
  readonly options: () => WorldOptions;
}

const everywhere = (rule: Rule, does: string, options: () => WorldOptions): readonly BrokenBackend[] =>
  componentNames.map((component) => ({ rule, component, does, options }));

export const brokenBackends: readonly BrokenBackend[] = [
  ...[...brokenDelivery, ...brokenControl].map(({ rule, does, wreck }): BrokenBackend => ({
    rule,
    does,
    component: "taskQueue",
    options: () => changed(referenceOptions(), (backend) => breakComponent(backend, "taskQueue", wreck)),
  })),
  ...brokenResults.map(({ rule, does, wreck }): BrokenBackend => ({
    rule,
    does,
    component: "resultStorage",
    options: () => changed(referenceOptions(), (backend) => breakComponent(backend, "resultStorage", wreck)),
  })),
  ...brokenEvents.map(({ rule, does, wreck }): BrokenBackend => ({
    rule,
    does,
    component: "eventStorage",
    options: () => changed(referenceOptions(), (backend) => breakComponent(backend, "eventStorage", wreck)),
  })),
  ...brokenSchedules.map(({ rule, does, wreck }): BrokenBackend => ({
    rule,
    does,
    component: "scheduleStorage",
    options: () => changed(referenceOptions(), (backend) => breakComponent(backend, "scheduleStorage", wreck)),
  })),
  {
    rule: "enqueue-durable",
    component: "taskQueue",
    does: "is empty when it is opened again",
    options: () => durableOptions(false),
  },
  {
    rule: "transactional",
    component: "taskQueue",
    does: "commits what was rolled back",
    options: () => transactionalOptions(false),
  },
  ...everywhere("outage", "rejects with an error that is not retryable", () => outageOptions("OMNIQ_BACKEND_FAILED")),
  {
    rule: "outage",
    component: "taskQueue",
    does: "forgets the id of a task that was completed before its enqueue was sent again",
    options: () =>
      changed(outageOptions("OMNIQ_BACKEND_UNAVAILABLE"), (backend) =>
        breakComponent(backend, "taskQueue", (queue) => storing(queue, (task) => ({ ...task, rememberMs: 0 }))),
      ),
  },
  ...everywhere("damaged-item", "gives up where it meets a damaged item", givingUpOptions),
  ...everywhere("damaged-item", "drops a damaged item and tells nobody", droppingOptions),
  ...everywhere("isolation", "has one state for all namespaces", sharedOptions),
];

/** Backends that are whole, and have what memory lacks: the same cases must pass on them. */
export const wholeBackends: readonly {
  readonly rule: Rule;
  readonly components: readonly ComponentName[];
  readonly options: () => WorldOptions;
}[] = [
  { rule: "enqueue-durable", components: ["taskQueue"], options: () => durableOptions(true) },
  { rule: "transactional", components: ["taskQueue"], options: () => transactionalOptions(true) },
  { rule: "outage", components: componentNames, options: () => outageOptions("OMNIQ_BACKEND_UNAVAILABLE") },
];

/** The cases of a broken backend's rule, run against it. */
export function runBroken(broken: BrokenBackend, options: Partial<RunOptions> = {}): Promise<SuiteReport> {
  return runSuite({
    ...broken.options(),
    components: [broken.component],
    rules: [broken.rule],
    timeoutMs: 5_000,
    ...options,
  });
}
