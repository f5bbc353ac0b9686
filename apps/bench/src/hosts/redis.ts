// A Redis of the bench's own, emptied after each run.
import { Redis } from "ioredis";
import type { Place } from "../frame/contestant.ts";
import type { Host } from "./host.ts";
import { newPrefix, startOwnServer } from "./own-server.ts";

export async function redisHost(): Promise<Host> {
  const server = await startOwnServer("redis");
  const client = new Redis(server.url, { maxRetriesPerRequest: null });
  const version = field(await client.info("server"), "redis_version");
  const setting = async (name: string): Promise<string> => ((await client.config("GET", name)) as string[])[1] ?? "";
  const [append, save] = [await setting("appendonly"), await setting("save")];
  return {
    server: `Redis ${version}`,
    durability:
      append === "no" && save === ""
        ? "no persistence (appendonly no, no snapshots)"
        : `appendonly ${append}, save "${save}"`,
    makePlace: async () => ({ url: server.url, folder: "", prefix: newPrefix(), serverPid: server.pid }),
    removePlace: async () => void (await client.flushall()),
    async stop() {
      client.disconnect();
      await server.stop();
    },
  };
}

/** The server's `used_memory`: the run is alone there. */
export async function storedBytesOf({ url }: Place): Promise<number> {
  const client = new Redis(url);
  const bytes = Number(field(await client.info("memory"), "used_memory"));
  client.disconnect();
  return bytes;
}

function field(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "";
}
