// Commands of a random history, as plain data: ids and leases are named by number, so that a history can be shrunk and replayed.
import fc from "fast-check";
import type { DeduplicationMode, StoredTaskState } from "@omniq/core";

/** A task of a history; `options` only where the features of the history have them. */
export interface TaskSeed {
  /** A number that may come again: the same id. */
  readonly id: number;
  readonly queue: 0 | 1;
  readonly priority: number;
  readonly maxAttempts: number;
  readonly key?:
    | { readonly key: number; readonly mode: DeduplicationMode; readonly windowMs?: number | undefined }
    | undefined;
  readonly group?: { readonly key: number; readonly limit: number } | undefined;
  readonly dependsOn?: { readonly ids: readonly number[]; readonly onFailure: "fail" | "run" } | undefined;
  readonly delayMs?: number | undefined;
  readonly expiresInMs?: number | undefined;
  /** Its id is free as soon as it has left the queue. */
  readonly forgotten: boolean;
}

export type Command =
  | { readonly verb: "enqueue"; readonly tasks: readonly TaskSeed[] }
  | { readonly verb: "reserve"; readonly queues: readonly (0 | 1)[]; readonly limit: number }
  | {
      readonly verb: "settle";
      readonly lease: number;
      readonly outcome: "completed" | "failed" | "cancelled" | "retry" | "release" | "snooze";
      readonly delayMs: number;
    }
  | { readonly verb: "extend"; readonly lease: number }
  | { readonly verb: "cancel" | "remove" | "get"; readonly id: number }
  /** `outcomes`: with what was seen of completed dependencies. */
  | { readonly verb: "retry"; readonly ids: readonly number[]; readonly outcomes: boolean }
  | { readonly verb: "pause" | "resume"; readonly queue: 0 | 1 }
  | { readonly verb: "limit"; readonly queue: 0 | 1; readonly maxActive: number | null }
  | { readonly verb: "rate"; readonly queue: 0 | 1; readonly limit: number | null }
  | { readonly verb: "purge"; readonly queue: 0 | 1; readonly states: readonly StoredTaskState[] }
  | { readonly verb: "record" }
  | { readonly verb: "pass"; readonly ms: number };

/** What a history may use. Its rule's features are on, the others off, so that a difference is that rule's. */
export interface Features {
  readonly priorities?: boolean;
  readonly deduplication?: boolean;
  /** Keys with windows. */
  readonly windows?: boolean;
  readonly groups?: boolean;
  readonly dependencies?: boolean;
  readonly limits?: boolean;
  /** Needs a controlled clock, like all that depends on time. */
  readonly rates?: boolean;
  readonly time?: boolean;
  readonly pause?: boolean;
  readonly cancel?: boolean;
  readonly deadLetters?: boolean;
  readonly staleLeases?: boolean;
  readonly releases?: boolean;
}

const ids = 12;
const optional = <T>(on: boolean | undefined, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  on === true ? fc.option(arbitrary, { nil: undefined, freq: 3 }) : fc.constant(undefined);

function taskSeed(features: Features): fc.Arbitrary<TaskSeed> {
  return (
    fc
      .record({
        id: fc.nat(ids - 1),
        queue: fc.constantFrom<0 | 1>(0, 0, 1),
        priority: features.priorities === true ? fc.constantFrom(-1, 0, 0, 5) : fc.constant(0),
        maxAttempts: fc.constantFrom(1, 2, 3),
        key: optional(
          features.deduplication,
          fc.record({
            key: fc.nat(1),
            mode: fc.constantFrom<DeduplicationMode>("keep", "replace", "extend"),
            windowMs: optional(
              features.windows,
              features.time === true ? fc.constantFrom(1_000, 600_000) : fc.constant(600_000),
            ),
          }),
        ),
        // A group whose tasks have different limits is allowed; each is held to its own.
        group: optional(features.groups, fc.record({ key: fc.nat(1), limit: fc.constantFrom(1, 1, 2) })),
        dependsOn: optional(
          features.dependencies,
          fc.record({
            ids: fc.uniqueArray(fc.nat(ids - 1), { minLength: 1, maxLength: 2 }),
            onFailure: fc.constantFrom<"fail" | "run">("fail", "run"),
          }),
        ),
        delayMs: optional(features.time, fc.constantFrom(500, 2_000)),
        expiresInMs: optional(features.time, fc.constantFrom(1_000, 3_000)),
        forgotten: fc.constantFrom(false, false, true),
      })
      // Dependencies never go together with a key that replaces or extends; and a task never depends on itself.
      .map((seed) => ({
        ...seed,
        key: seed.dependsOn === undefined ? seed.key : undefined,
        dependsOn:
          seed.dependsOn === undefined
            ? undefined
            : { ...seed.dependsOn, ids: seed.dependsOn.ids.filter((id) => id < seed.id) },
      }))
  );
}

/** Histories with these features. Every history enqueues and reserves. */
export function histories(features: Features): fc.Arbitrary<readonly Command[]> {
  const queue = fc.constantFrom<0 | 1>(0, 0, 1);
  const id = fc.nat(ids - 1);
  const lease = fc.nat(7);
  const outcomes: Extract<Command, { verb: "settle" }>["outcome"][] = ["completed", "completed", "retry"];
  if (features.deadLetters === true || features.dependencies === true) outcomes.push("failed");
  if (features.cancel === true || features.dependencies === true) outcomes.push("cancelled");
  if (features.releases === true) outcomes.push("release", "release", "snooze");
  const delays = features.time === true ? fc.constantFrom(0, 700) : fc.constant(0);
  const verbs: { weight: number; arbitrary: fc.Arbitrary<Command> }[] = [];
  const add = (weight: number, arbitrary: fc.Arbitrary<Command>): void => {
    verbs.push({ weight, arbitrary });
  };
  add(
    5,
    fc
      .uniqueArray(taskSeed(features), { selector: (task) => task.id, minLength: 1, maxLength: 4 })
      .map((tasks) => ({ verb: "enqueue", tasks })),
  );
  add(
    4,
    fc
      .record({
        queues: fc.constantFrom<readonly (0 | 1)[]>([0], [1], [0, 1], [1, 0]),
        limit: fc.constantFrom(1, 2, 5),
      })
      .map((given) => ({ verb: "reserve", ...given })),
  );
  add(
    5,
    fc
      .record({ lease, outcome: fc.constantFrom(...outcomes), delayMs: delays })
      .map((given) => ({ verb: "settle", ...given })),
  );
  add(
    1,
    id.map((of) => ({ verb: "get", id: of })),
  );
  add(2, fc.constant<Command>({ verb: "record" }));
  if (features.staleLeases === true)
    add(
      2,
      lease.map((of) => ({ verb: "extend", lease: of })),
    );
  if (features.cancel === true)
    add(
      3,
      id.map((of) => ({ verb: "cancel", id: of })),
    );
  if (features.deadLetters === true) {
    add(
      2,
      fc
        .record({ ids: fc.uniqueArray(id, { minLength: 1, maxLength: 3 }), outcomes: fc.boolean() })
        .map((given) => ({ verb: "retry", ...given })),
    );
    add(
      2,
      id.map((of) => ({ verb: "remove", id: of })),
    );
    add(
      1,
      fc
        .record({
          queue,
          states: fc.subarray<StoredTaskState>(["blocked", "scheduled", "ready", "failed"], { minLength: 1 }),
        })
        .map((given) => ({ verb: "purge", ...given })),
    );
  }
  if (features.pause === true) {
    add(
      1,
      queue.map((of) => ({ verb: "pause", queue: of })),
    );
    add(
      2,
      queue.map((of) => ({ verb: "resume", queue: of })),
    );
  }
  if (features.limits === true)
    add(
      2,
      fc.record({ queue, maxActive: fc.constantFrom(1, 2, null) }).map((given) => ({ verb: "limit", ...given })),
    );
  if (features.rates === true)
    add(
      1,
      fc.record({ queue, limit: fc.constantFrom(1, 3, null) }).map((given) => ({ verb: "rate", ...given })),
    );
  if (features.time === true || features.rates === true)
    add(
      3,
      fc.constantFrom(1, 400, 600, 2_000).map((ms) => ({ verb: "pass", ms })),
    );
  return fc.array(fc.oneof(...verbs), { minLength: 3, maxLength: 30 });
}
