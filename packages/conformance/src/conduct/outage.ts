// Cases of `outage`, made for each component: while the backend is away calls fail with a retryable error or wait; nothing is lost.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, type Component, type ComponentKind } from "@omniq/core";
import type { Case, World } from "../suite.ts";
import { awaitedLater, describeError, within } from "./waiting.ts";

/** What the outage cases need to know of a component. */
export interface Interruptible<T> {
  /** Every verb, called with something harmless. */
  readonly verbs: Readonly<Record<string, (component: T) => Promise<unknown>>>;
  /** Those of them that change nothing. */
  readonly reads: readonly string[];
  /** Stores the thing of this name; again, the same. */
  readonly store: (component: T, name: string) => Promise<void>;
  /** The names of all things that are stored. */
  readonly stored: (component: T) => Promise<readonly string[]>;
}

const unless = (world: World): string | undefined =>
  world.outage === undefined ? "this adapter's test can not take the backend away" : undefined;

/** What a call may reject with while the backend is away. Only a write may have taken effect without an answer. */
export function isOutage(error: unknown, write: boolean): boolean {
  if (!isOmniQError(error) || !error.retryable) return false;
  return error.code === "OMNIQ_BACKEND_UNAVAILABLE" || (write && error.code === "OMNIQ_OUTCOME_UNKNOWN");
}

/** Calls until it succeeds; other errors than an outage fail the case. */
export async function untilBack<T>(call: () => Promise<T>, what: string): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await within(call(), what, 30_000);
    } catch (error) {
      if (!isOutage(error, true) || tries >= 200) assert.fail(`${what}: ${describeError(error)}`);
      await sleep(100);
    }
  }
}

export function outageCases<T extends Component<ComponentKind>>(interruptible: Interruptible<T>): readonly Case<T>[] {
  const rule = "outage";
  return [
    {
      rule,
      title: "a write while the backend is away rejects with a retryable error, or waits; then all goes on",
      unless,
      timeoutMs: 90_000,
      async run(component, world) {
        const { outage } = world;
        assert.ok(outage !== undefined);
        await interruptible.store(component, "before");
        await outage.stop();
        const during = interruptible.store(component, "during").then(
          () => undefined,
          (error: unknown) => error,
        );
        try {
          await Promise.race([during, sleep(1_500)]);
        } finally {
          await outage.start();
        }
        const error = await within(during, "the call made while the backend was away", 60_000);
        assert.ok(error === undefined || isOutage(error, true), describeError(error));
        await untilBack(() => interruptible.store(component, "during"), "the same call again");
        await untilBack(() => interruptible.store(component, "after"), "a later call");
        assert.deepEqual([...(await untilBack(() => interruptible.stored(component), "reading"))].sort(), [
          "after",
          "before",
          "during",
        ]);
      },
    },
    {
      rule,
      title:
        "while the backend is away each verb waits, or rejects with OMNIQ_BACKEND_UNAVAILABLE, a write with OMNIQ_OUTCOME_UNKNOWN too",
      unless,
      timeoutMs: 120_000,
      async run(component, world) {
        const { outage } = world;
        assert.ok(outage !== undefined);
        await interruptible.store(component, "before");
        await outage.stop();
        const calls = Object.entries(interruptible.verbs).map(async ([name, call]) => {
          try {
            await call(component);
          } catch (error) {
            const write = !interruptible.reads.includes(name);
            assert.ok(isOutage(error, write), `${name}: ${describeError(error)}`);
          }
        });
        const all = awaitedLater(Promise.all(calls));
        try {
          await Promise.race([all, sleep(1_500)]);
        } finally {
          await outage.start();
        }
        await within(all, "the calls made while the backend was away", 60_000);
        for (const [name, call] of Object.entries(interruptible.verbs))
          await untilBack(async () => await call(component), `${name} when the backend is back`);
        assert.ok((await untilBack(() => interruptible.stored(component), "reading")).includes("before"));
      },
    },
    {
      rule,
      title: "two outages one after the other lose nothing that was acknowledged",
      unless,
      timeoutMs: 120_000,
      async run(component, world) {
        const { outage } = world;
        assert.ok(outage !== undefined);
        const acknowledged: string[] = [];
        let stop = false;
        // A broken adapter may fail the writer before anyone waits for it; the failure shows below.
        const writing = awaitedLater(
          (async () => {
            for (let i = 0; !stop; i += 1) {
              const name = `w-${i}`;
              await untilBack(() => interruptible.store(component, name), `storing ${name}`);
              acknowledged.push(name);
              await sleep(5);
            }
          })(),
        );
        for (let round = 0; round < 2; round += 1) {
          await sleep(200);
          await outage.stop();
          await sleep(300);
          await outage.start();
        }
        await sleep(200);
        stop = true;
        await within(writing, "the writer's end", 60_000);
        const stored = new Set(await untilBack(() => interruptible.stored(component), "reading"));
        assert.ok(acknowledged.length > 0);
        assert.deepEqual(
          acknowledged.filter((name) => !stored.has(name)),
          [],
          "acknowledged things are gone",
        );
      },
    },
  ];
}
