// One case in one world, with a limit of time, so that a queue that hangs fails and does not hold up the rest.
import type { Components } from "@omniq/core";
import type { AnyBackend, Case, World } from "./suite.ts";
import { openWorld, type WorldOptions } from "./world.ts";

/** How long a case may take, in milliseconds, unless it says otherwise. */
export const defaultTimeoutMs = 30_000;

/** The component that a case is about. */
export function componentOf<K extends keyof Components>(backend: AnyBackend, kind: K): Components[K] {
  const make = backend[kind] as (() => Components[K]) | undefined;
  if (make === undefined)
    throw new Error(`the backend has no ${kind}; name the components that it has in \`components\``);
  return make.call(backend);
}

/** Runs `body` on a fresh world, and closes the world whatever happens. */
export async function inWorld<T>(
  options: WorldOptions,
  timeoutMs: number,
  body: (world: World) => Promise<T>,
): Promise<T> {
  const { world, close } = await openWorld(options);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the case was not over after ${timeoutMs} ms`)), timeoutMs);
  });
  let failed = true;
  try {
    const result = await Promise.race([body(world), late]);
    failed = false;
    return result;
  } finally {
    clearTimeout(timer);
    // The case's own error says more than that of closing after it.
    await (failed ? close().catch(() => undefined) : close());
  }
}

/** Runs a case; rejects when it fails. */
export async function runCase<K extends keyof Components>(
  options: WorldOptions,
  kind: K,
  one: Case<Components[K]>,
): Promise<void> {
  await inWorld(options, one.timeoutMs ?? defaultTimeoutMs, (world) =>
    one.run(componentOf(world.backend, kind), world),
  );
}
