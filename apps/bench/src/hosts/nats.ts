// A NATS server of the bench's own; its streams are removed after each run.
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Place } from "../frame/contestant.ts";
import type { Host } from "./host.ts";
import { newPrefix, startOwnServer } from "./own-server.ts";

export async function natsHost(): Promise<Host> {
  const server = await startOwnServer("nats");
  const connection = await connect({ servers: server.url });
  const manager = await jetstreamManager(connection);
  return {
    server: `nats-server ${connection.info?.version}`,
    durability: "streams on disk, written at once, synced by the server's default (every two minutes)",
    makePlace: async () => ({ url: server.url, folder: "", prefix: newPrefix(), serverPid: server.pid }),
    async removePlace({ prefix }) {
      for (const name of await names(manager)) if (name.includes(prefix)) await manager.streams.delete(name);
    },
    async stop() {
      await connection.close();
      await server.stop();
    },
  };
}

/** What the streams of the run take. */
export async function storedBytesOf({ url, prefix }: Place): Promise<number> {
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  let bytes = 0;
  for (const name of await names(manager))
    if (name.includes(prefix)) bytes += (await manager.streams.info(name)).state.bytes;
  await connection.close();
  return bytes;
}

async function names(manager: JetStreamManager): Promise<string[]> {
  const all: string[] = [];
  for await (const name of manager.streams.names()) all.push(name);
  return all;
}
