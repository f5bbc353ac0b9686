// Cases of `close`, made for each component from its verbs and from what it can wait on.
import assert from "node:assert/strict";
import { isOmniQError, type Components } from "@omniq/core";
import type { Case, World } from "../suite.ts";
import { anotherConnection } from "./connections.ts";
import { isOutage } from "./outage.ts";
import { awaitedLater, describeError, rejectsWith, settleDown, within } from "./waiting.ts";

/** A component has two seconds to close; a busy machine is given some more. */
const closeMs = 2_000 + 1_500;

/** What the close cases need to know of a component. */
export interface Closable<Component> {
  readonly kind: keyof Components;
  /** Every verb, called with something harmless. */
  readonly verbs: Readonly<Record<string, (component: Component) => Promise<unknown>>>;
  /** Waits for what does not come, for longer than the case runs. */
  readonly wait?: ((component: Component) => Promise<unknown>) | undefined;
  /** Something small that proves that a component works. */
  readonly use: (component: Component) => Promise<void>;
}

export function closeCases<Component extends Components[keyof Components]>(
  closable: Closable<Component>,
): readonly Case<Component>[] {
  const rule = "close";
  const cases: Case<Component>[] = [
    {
      rule,
      title: "close can be called again, also at once, and by the language",
      async run(component) {
        await within(Promise.all([component.close(), component.close()]), "two closes at once");
        await within(component.close(), "a third close");
        await within(Promise.resolve(component[Symbol.asyncDispose]()), "the disposal");
      },
    },
    {
      rule,
      title: "every verb of a closed component rejects with OMNIQ_CLOSED",
      async run(component) {
        await closable.use(component);
        await component.close();
        for (const [name, call] of Object.entries(closable.verbs)) {
          await rejectsWith("OMNIQ_CLOSED", async () => await call(component), `${name} after close`);
        }
      },
    },
    {
      rule,
      title: "disposal closes",
      async run(component) {
        await component[Symbol.asyncDispose]();
        for (const [name, call] of Object.entries(closable.verbs).slice(0, 1)) {
          await rejectsWith("OMNIQ_CLOSED", async () => await call(component), `${name} after disposal`);
        }
      },
    },
    {
      rule,
      title: "closing the backend closes its components, twice is once",
      async run(component, world) {
        await closable.use(component);
        await within(world.backend.close(), "the backend's close");
        await within(world.backend.close(), "the backend's second close");
        for (const [name, call] of Object.entries(closable.verbs)) {
          await rejectsWith("OMNIQ_CLOSED", async () => await call(component), `${name} after the backend's close`);
        }
      },
    },
    {
      rule,
      title: "the backend gives the same component each time",
      async run(component, world) {
        const make = world.backend[closable.kind] as (() => Component) | undefined;
        assert.ok(make !== undefined);
        assert.equal(make.call(world.backend), component);
        assert.equal(make.call(world.backend), make.call(world.backend));
      },
    },
    {
      rule,
      title: "other connections go on when one closes",
      async run(component, world) {
        const other = (await anotherConnection(world, closable.kind)) as Component;
        await closable.use(component);
        await component.close();
        await closable.use(other);
      },
    },
    {
      rule,
      title: "calls under way when it closes end: with their answer or with OMNIQ_CLOSED",
      async run(component) {
        const underWay = Object.entries(closable.verbs).map(async ([name, call]) => {
          try {
            await call(component);
          } catch (error) {
            assert.ok(isOmniQError(error, "OMNIQ_CLOSED"), `${name}: ${describeError(error)}`);
          }
        });
        await within(component.close(), "close with calls under way", closeMs);
        await within(Promise.all(underWay), "the end of the calls under way");
      },
    },
  ];
  const { wait } = closable;
  const away = async (component: Component, world: World, close: () => Promise<void>): Promise<void> => {
    const { outage } = world;
    assert.ok(outage !== undefined);
    await closable.use(component);
    const waiting = wait === undefined ? [] : [awaitedLater(wait(component))];
    await settleDown();
    await outage.stop();
    try {
      const underWay = Object.values(closable.verbs).map((call) => awaitedLater(call(component)));
      await settleDown(200);
      await within(close(), "close with the backend away", closeMs);
      for (const call of [...underWay, ...waiting]) {
        try {
          await within(call, "the end of a call under way", 5_000);
        } catch (error) {
          assert.ok(isOmniQError(error, "OMNIQ_CLOSED") || isOutage(error, true), describeError(error));
        }
      }
      for (const [name, call] of Object.entries(closable.verbs))
        await rejectsWith("OMNIQ_CLOSED", async () => await call(component), `${name} after close`);
    } finally {
      await outage.start();
    }
  };
  const unless = (world: World): string | undefined =>
    world.outage === undefined ? "this adapter's test can not take the backend away" : undefined;
  cases.push(
    {
      rule,
      title: "with the backend away a component closes within two seconds, and ends waits and calls under way",
      unless,
      timeoutMs: 60_000,
      run: (component, world) => away(component, world, () => component.close()),
    },
    {
      rule,
      title: "with the backend away the whole backend closes within two seconds",
      unless,
      timeoutMs: 60_000,
      run: (component, world) => away(component, world, () => world.backend.close()),
    },
  );
  if (wait !== undefined) {
    cases.push({
      rule,
      title: "close ends waits: with nothing or with OMNIQ_CLOSED",
      async run(component) {
        const waits = Array.from({ length: 3 }, async () => {
          try {
            assert.ok(isNothing(await wait(component)), "a wait that close ended gave something");
          } catch (error) {
            assert.ok(isOmniQError(error, "OMNIQ_CLOSED"), describeError(error));
          }
        });
        await settleDown();
        await within(component.close(), "close while waiting", closeMs);
        await within(Promise.all(waits), "the end of the waits", 5_000);
      },
    });
  }
  return cases;
}

function isNothing(answer: unknown): boolean {
  return answer === undefined || (Array.isArray(answer) && answer.length === 0);
}
