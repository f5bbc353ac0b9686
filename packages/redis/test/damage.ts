// Spoils what one prefix holds of a task, a result, an event or a schedule.
import type { DamageKind } from "@omniq/conformance";
import { Redis } from "ioredis";
import { redis } from "@omniq/redis";
import { url } from "./server.ts";

/** Records that no script writes: none at all, one that begins like one, one of another version. */
const garbage = ["\u0001", "r00000000000", "z{}", "{}"];

export async function damage(prefix: string, kind: DamageKind, id: string): Promise<void> {
  // What stands in the inbox has no record yet.
  const backend = redis({ url, prefix });
  await backend.taskQueue().counts();
  await backend.close();
  const client = new Redis(url, { protocol: 2 });
  const key = (name: string): string => `{${prefix}}:${name}`;
  const spoiled = garbage[[...id].reduce((sum, char) => sum + char.charCodeAt(0), 0) % garbage.length] as string;
  try {
    if (kind === "task") await client.hset(key("t"), id, spoiled);
    if (kind === "result") {
      if ((await client.hexists(key("r"), id)) === 1) await client.hset(key("r"), id, spoiled);
      else await client.hset(key("t"), id, "R00000000000");
    }
    if (kind === "schedule") await client.hset(key("sc"), id, '["rule"');
    if (kind === "event") {
      // An entry of a stream does not change, so the stream is written anew.
      const entries = await client.xrange(key("ev"), "-", "+");
      await client.del(key("ev"));
      for (const [at, [, text = ""]] of entries) {
        const own = text.split("\0", 1)[0] === id ? `${id}\0t\0no time\0started` : text;
        await client.xadd(key("ev"), at, "e", own);
      }
    }
  } finally {
    client.disconnect();
  }
}
