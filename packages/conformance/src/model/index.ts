// The model cases: random histories against the adapter and the reference at once, answers compared, failures shrunk.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { TaskQueue } from "@omniq/core";
import { memory } from "@omniq/memory";
import { anotherConnection } from "../conduct/connections.ts";
import type { Rule } from "../rules.ts";
import type { Case, World } from "../suite.ts";
import { histories, type Command, type Features } from "./command.ts";
import { Side } from "./side.ts";

const runs = 30;

/** Both sides do each command; then both are looked at. The first difference is the failure, with the command's number. */
async function compare(history: readonly Command[], adapter: Side, reference: Side, world: World): Promise<void> {
  for (const [i, command] of history.entries()) {
    const [given, expected] = [await adapter.run(command), await reference.run(command)];
    assert.deepEqual(given, expected, `command ${i} (${command.verb}): the adapter's answer and the reference's`);
    if (command.verb === "pass") await world.clock.pass(command.ms);
    // Two commands in one millisecond have no order in time; a real clock is given time to move on.
    else if (!world.clock.controlled) await sleep(2);
    else await world.clock.pass(1);
    assert.deepEqual(
      await adapter.look(),
      await reference.look(),
      `after command ${i} (${command.verb}): what the adapter and the reference show`,
    );
  }
}

function modelCase(
  rule: Rule,
  title: string,
  features: Features,
  unless?: (queue: TaskQueue, world: World) => string | undefined,
): Case<TaskQueue> {
  return {
    rule,
    title: `random histories: ${title}`,
    timeoutMs: 180_000,
    unless: (world, queue) => unless?.(queue, world),
    async run(queue, world) {
      const clients = [queue, await anotherConnection(world, "taskQueue")];
      const reference = memory({ now: () => world.clock.now() });
      const leaseMs = Math.max(600_000, queue.capabilities.minimumLeaseMs);
      let histories_ = 0;
      try {
        await fc.assert(
          fc.asyncProperty(histories(features), async (history) => {
            const prefix = `m${(histories_ += 1)}-`;
            await compare(
              history,
              new Side(clients, prefix, leaseMs),
              new Side([reference.taskQueue()], prefix, leaseMs),
              world,
            );
          }),
          { numRuns: runs, interruptAfterTimeLimit: 60_000 },
        );
      } finally {
        await reference.close();
      }
    },
  };
}

const controlled = (_queue: TaskQueue, world: World): string | undefined =>
  world.clock.controlled ? undefined : "the store's clock is not controlled";
const needs =
  (name: "priorities" | "dependencies" | "deduplication" | "groups" | "queueLimits" | "rateLimits") =>
  (queue: TaskQueue): string | undefined =>
    queue.capabilities[name] ? undefined : `no ${name}`;

export const modelCases: readonly Case<TaskQueue>[] = [
  modelCase(
    "order",
    "priorities, releases and retries in two queues",
    { priorities: true, releases: true },
    needs("priorities"),
  ),
  modelCase("release-refunds", "releases among completions and retries", { releases: true }),
  modelCase("settle-fenced", "settling and extending with leases of the past", { staleLeases: true, releases: true }),
  modelCase(
    "deduplicate",
    "keys that keep, replace and extend",
    { deduplication: true, windows: true, priorities: true, cancel: true, releases: true },
    (queue) => needs("deduplication")(queue) ?? needs("priorities")(queue),
  ),
  modelCase(
    "deduplicate",
    "keys whose holders expire, and whose windows end",
    { deduplication: true, windows: true, time: true, releases: true },
    (queue, world) => controlled(queue, world) ?? needs("deduplication")(queue),
  ),
  modelCase("snooze", "releases with a delay while time passes", { time: true, releases: true }, controlled),
  modelCase("enqueue-idempotent", "ids that are freed and taken again", {
    deadLetters: true,
    cancel: true,
    staleLeases: true,
  }),
  modelCase(
    "group-limit",
    "groups of limit 1 and 2, with retries and releases",
    { groups: true, releases: true },
    needs("groups"),
  ),
  modelCase("queue-limit", "maxActive that comes and goes", { limits: true, releases: true }, needs("queueLimits")),
  modelCase(
    "dependencies",
    "graphs that complete, fail and are cancelled",
    { dependencies: true, deadLetters: true },
    needs("dependencies"),
  ),
  modelCase("cancel", "cancelling the waiting, the running and the gone", { cancel: true, releases: true }),
  modelCase("dead-letter", "dead letters that are retried, removed and purged", { deadLetters: true }),
  modelCase("pause", "pausing and resuming", { pause: true }),
  modelCase(
    "outcome-recorded",
    "outcomes of the queue's own, recorded and not",
    { cancel: true, deadLetters: true, dependencies: true },
    needs("dependencies"),
  ),
  modelCase("no-early-delivery", "delays, retries with delays and expiry", { time: true }, controlled),
  modelCase(
    "rate-limit",
    "rate limits that come and go while time passes",
    { rates: true, releases: true },
    (queue, world) => controlled(queue, world) ?? needs("rateLimits")(queue),
  ),
  modelCase(
    "inspect",
    "everything at once",
    {
      priorities: true,
      deduplication: true,
      groups: true,
      dependencies: true,
      limits: true,
      pause: true,
      cancel: true,
      deadLetters: true,
      staleLeases: true,
      releases: true,
    },
    (queue) =>
      (["priorities", "dependencies", "deduplication", "groups", "queueLimits"] as const)
        .map((name) => needs(name)(queue))
        .find((reason) => reason !== undefined),
  ),
];
