// The probe at the start: a store that ignores conditions would lose tasks without a word, so it is refused.
import { randomUUID } from "node:crypto";
import { OmniQError } from "@omniq/core";
import type { ObjectStore } from "./object-store.ts";
import { repeatCall } from "./store-failure.ts";

/**
 * Makes sure that the store honours conditions: of two creates of one fresh name the second must be told `exists`, and a replace over a
 * revision that is gone must be a `conflict`. Leaves nothing behind. Rejects with `OMNIQ_UNSUPPORTED` where it does not, and with the
 * store's own errors. Costs five requests.
 */
export async function probeStore(store: ObjectStore): Promise<void> {
  const key = `probe/${randomUUID()}`;
  const body = new TextEncoder().encode("OmniQ looks whether this store honours conditional writes.\n");
  try {
    // An unknown first outcome is no hindrance: whether by that try or by a later one, then it is there.
    await definite(() => store.create(key, body));
    if ((await definite(() => store.create(key, body))) !== "exists") throw refused("a second create of the same name");
    const { object } = await store.read(key);
    if (object === undefined) throw refused("a read of what was written");
    const next = new TextEncoder().encode("Replaced.\n");
    await definite(() => store.replace(key, next, object.revision));
    if ((await definite(() => store.replace(key, body, object.revision))) !== "conflict")
      throw refused("a replace over an old revision");
  } finally {
    await store.delete([key]).catch(() => undefined);
  }
}

async function definite<S extends string>(
  write: () => Promise<{ readonly state: S; readonly cause?: unknown }>,
): Promise<S> {
  return await repeatCall(async () => {
    const { state, cause } = await write();
    if (state !== "unknown") return state;
    throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The store did not answer the probe of its conditional writes", {
      cause,
    });
  });
}

function refused(what: string): OmniQError {
  const message = `This store can't hold a log: ${what} went wrong, so it does not honour conditional writes`;
  return new OmniQError("OMNIQ_UNSUPPORTED", message);
}
