// Opens OmniQ on a place of the bench's own.
import { file } from "@omniq/file";
import { memory } from "@omniq/memory";
import { nats } from "@omniq/nats";
import { postgres } from "@omniq/postgres";
import { redis } from "@omniq/redis";
import { sqlite } from "@omniq/sqlite";
import type { Backend } from "@omniq/core";
import { join } from "node:path";
import pg from "pg";
import { Redis } from "ioredis";
import type { BackendName, Place } from "../frame/contestant.ts";
import type { Store } from "./dimension.ts";

export interface OpenStore extends Store {
  /** The longest command that kept a server with one thread, in milliseconds, since the last call; `undefined` where there is none. */
  longestStepMs(): Promise<number | undefined>;
  close(): Promise<void>;
}

const nothing = async (): Promise<undefined> => undefined;

export async function openStore(name: BackendName, place: Place): Promise<OpenStore> {
  const backend = made(name, place);
  await backend.check();
  const close = async (): Promise<void> => await backend.close();
  if (name === "postgres") {
    const client = new pg.Client({ connectionString: place.url });
    await client.connect();
    return {
      backend,
      analyze: async () => void (await client.query("ANALYZE")),
      longestStepMs: nothing,
      close: async () => {
        await close();
        await client.end();
      },
    };
  }
  if (name === "redis") {
    const client = new Redis(place.url);
    await client.config("SET", "slowlog-log-slower-than", "2000");
    return {
      backend,
      analyze: nothing,
      longestStepMs: async () => {
        const entries = (await client.slowlog("GET", 128)) as unknown as [number, number, number, ...unknown[]][];
        await client.slowlog("RESET");
        return Math.max(0, ...entries.map(([, , microseconds]) => microseconds)) / 1_000;
      },
      close: async () => {
        await close();
        client.disconnect();
      },
    };
  }
  return { backend, analyze: nothing, longestStepMs: nothing, close };
}

function made(name: BackendName, { url, folder, prefix }: Place): Backend {
  if (name === "memory") return memory({});
  if (name === "sqlite") return sqlite({ databasePath: join(folder, "omniq.db"), synchronous: "normal" });
  if (name === "postgres") return postgres({ dsn: url });
  if (name === "redis") return redis({ url, prefix });
  if (name === "nats") return nats({ servers: [url], prefix, durabilityWarning: false });
  return file({ baseDir: folder });
}
