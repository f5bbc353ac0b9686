// A Redis server of a benchmark's own, without persistence, pinned to the first core where that can be done.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";

/** Unpinned, the scheduler swings ratios twofold. */
export const canPin: boolean = spawnSync("taskset", ["-V"]).status === 0;

export interface OwnServer {
  readonly port: number;
  readonly client: Redis;
  stop(): void;
}

export async function startServer(): Promise<OwnServer> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { port: number };
  listener.close();
  await once(listener, "close");
  const command = ["redis-server", "--bind", "127.0.0.1", "--port", String(port), "--save", "", "--appendonly", "no"];
  const [program = "", ...args] = canPin ? ["taskset", "-c", "0", ...command] : command;
  const server = spawn(program, args, { stdio: "ignore" });
  const client = new Redis({ port, maxRetriesPerRequest: null });
  client.on("error", () => undefined);
  await client.ping();
  return {
    port,
    client,
    stop: () => {
      client.disconnect();
      server.kill();
    },
  };
}

/** The server's processor time so far, in µs. Unlike the clock's, it does not depend on who else runs. */
export async function serverTime(client: Redis): Promise<number> {
  const text = await client.info("cpu");
  const of = (name: string): number => Number(new RegExp(`^${name}:([0-9.]+)`, "m").exec(text)?.[1]);
  return (of("used_cpu_sys") + of("used_cpu_user")) * 1e6;
}

export async function usedMemory(client: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await client.info("memory"))?.[1]);
}
