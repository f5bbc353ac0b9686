// The rules that the kit tests: the keys of the contracts' doc comments, by the suite that holds their cases.

/** Every rule has cases in its suite, and a broken queue or storage that they catch. */
export const rules = {
  "task-queue": [
    "enqueue-durable",
    "enqueue-idempotent",
    "enqueue-atomic",
    "calls-isolated",
    "lease-excludes",
    "lease-expiry-redelivers",
    "settle-fenced",
    "no-early-delivery",
    "no-late-delivery",
    "order",
    "release-refunds",
    "snooze",
    "bounded-bytes",
    "wake-up",
    "self-upkeep",
    "deduplicate",
    "cancel",
    "cancel-push",
    "pause",
    "inspect",
    "dead-letter",
    "group-limit",
    "queue-limit",
    "rate-limit",
    "dependencies",
    "transactional",
    "outcome-recorded",
  ],
  "result-storage": ["result-first-wins", "result-wait", "result-expiry"],
  "event-storage": ["event-order", "event-query", "event-tail"],
  "schedule-storage": ["schedule-once"],
  /** Kept by every component; each suite has cases for them. */
  conduct: ["hostile-input", "close", "outage", "damaged-item", "isolation"],
} as const;

export type Suite = Exclude<keyof typeof rules, "conduct">;
export type Rule = (typeof rules)[keyof typeof rules][number];
