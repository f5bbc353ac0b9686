// Second connections: a component of another client on the world's namespace, or on a namespace beside it.
import assert from "node:assert/strict";
import type { Components } from "@omniq/core";
import type { World } from "../suite.ts";

/** The same component through a connection of its own; with `namespace`, of that namespace. */
export async function anotherConnection<Kind extends keyof Components>(
  world: World,
  kind: Kind,
  namespace?: string,
): Promise<Components[Kind]> {
  const backend = namespace === undefined ? await world.open() : await world.open(namespace);
  const make = backend[kind] as (() => Components[Kind]) | undefined;
  assert.ok(make !== undefined, `the backend of another connection has no ${kind}()`);
  return make.call(backend);
}

/** The component after everything on the namespace was let go and opened anew; only where `world.reopen` is there. */
export async function reopened<Kind extends keyof Components>(world: World, kind: Kind): Promise<Components[Kind]> {
  assert.ok(world.reopen !== undefined, "a case that reopens must say `unless` for worlds that can not");
  const backend = await world.reopen();
  const make = backend[kind] as (() => Components[Kind]) | undefined;
  assert.ok(make !== undefined, `the reopened backend has no ${kind}()`);
  return make.call(backend);
}

/** The `unless` of cases about what stays after the death of every process. */
export function unlessReopens(
  world: World,
  component: { readonly capabilities: { readonly durable: boolean } },
): string | undefined {
  if (!component.capabilities.durable) return "not durable";
  return world.reopen === undefined ? "nothing to reopen" : undefined;
}

/** A namespace beside the world's own whose name begins with it, so that a search by prefix would mix them up. */
export function neighbour(world: World): string {
  return `${world.namespace}b`;
}
