// Where the contestants of one backend meet: a server that the bench started, or folders on the disk.
import type { BackendName, Place } from "../frame/contestant.ts";
import { localHost } from "./local.ts";
import { natsHost } from "./nats.ts";
import { postgresHost } from "./postgres.ts";
import { redisHost } from "./redis.ts";

export interface Host {
  /** What it is, with its version, as it says itself. */
  readonly server: string;
  /** What is safe from what, as it says itself. */
  readonly durability: string;
  /** A place where nothing is. */
  makePlace(): Promise<Place>;
  removePlace(place: Place): Promise<void>;
  stop(): Promise<void>;
}

export async function startHost(backend: BackendName): Promise<Host> {
  if (backend === "redis") return await redisHost();
  if (backend === "postgres") return await postgresHost();
  if (backend === "nats") return await natsHost();
  return await localHost(backend);
}

/** Bytes that a place takes where it is stored; `undefined` where nothing is. */
export async function storedBytes(place: Place): Promise<number | undefined> {
  const { storedBytesOf } = place.url.startsWith("redis:")
    ? await import("./redis.ts")
    : place.url.startsWith("postgresql:")
      ? await import("./postgres.ts")
      : place.url.startsWith("nats:")
        ? await import("./nats.ts")
        : await import("./local.ts");
  return await storedBytesOf(place);
}
