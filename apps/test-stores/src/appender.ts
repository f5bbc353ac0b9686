// A process that appends to a log in a store, one position after the other, and tells its parent what was acknowledged.
// Started by `raceAppenders`; it knows nothing of OmniQ but the contract of stores.
import { randomUUID } from "node:crypto";
import type { ObjectStore, ObjectStoreAdapter } from "@omniq/file";
import { positionOf } from "./log-position.ts";

interface AppenderStart {
  /** URL of a module that exports `store`. */
  readonly module: string;
  readonly url: string;
  readonly storageOptions: Readonly<Record<string, string>>;
  readonly appends: number;
}

/** Appends one body after `last`; answers its position. What is doubtful is sent again as it is, until it is certain. */
async function append(store: ObjectStore, last: number, body: string): Promise<number> {
  const bytes = new TextEncoder().encode(body);
  for (let n = last + 1; ;) {
    const { state } = await store.create(positionOf(n), bytes);
    if (state === "created") return n;
    if (state === "unknown") continue;
    const { object } = await store.read(positionOf(n));
    if (object === undefined) throw new Error(`${positionOf(n)} exists and is not there`);
    if (new TextDecoder().decode(object.body) === body) return n;
    n += 1;
  }
}

async function main(start: AppenderStart): Promise<void> {
  const { store: adapter } = (await import(start.module)) as { readonly store: ObjectStoreAdapter };
  const store = adapter.fromUrl(start.url, start.storageOptions);
  let last = 0;
  for (let i = 0; i < start.appends; i += 1) {
    const body = `${process.pid} ${randomUUID()}`;
    process.send?.({ sent: body });
    last = await append(store, last, body);
    process.send?.({ acknowledged: body, position: last });
  }
  await store.close();
  process.disconnect();
}

// Nobody is left to judge what it does.
process.once("disconnect", () => process.exit(0));
main(JSON.parse(process.argv[2] ?? "") as AppenderStart).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
