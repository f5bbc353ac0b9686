// Takes away what a run left on servers that are not ours: the schema, keys or streams under the run's own name.
import { createRequire } from "node:module";
import { root } from "./steps.mjs";

/** Loads a client library as the adapter's package sees it. */
const clientOf = (adapter, name) => createRequire(`${root}packages/${adapter}/package.json`)(name);

const cleaners = {
  async postgres(name) {
    const { Client } = clientOf("postgres", "pg");
    const client = new Client({ connectionString: process.env.OMNIQ_TEST_POSTGRES_URL });
    await client.connect();
    await client.query(`SET client_min_messages = warning; DROP SCHEMA IF EXISTS "${name}" CASCADE`);
    await client.end();
  },
  async redis(name) {
    const { Redis } = clientOf("redis", "ioredis");
    const client = new Redis(process.env.OMNIQ_TEST_REDIS_URL);
    for await (const keys of client.scanStream({ match: `{${name}}*`, count: 1_000 }))
      if (keys.length > 0) await client.del(...keys);
    await client.quit();
  },
  async nats(name) {
    const { connect } = clientOf("nats", "@nats-io/transport-node");
    const { jetstreamManager } = clientOf("nats", "@nats-io/jetstream");
    const connection = await connect({ servers: process.env.OMNIQ_TEST_NATS_URL });
    const manager = await jetstreamManager(connection);
    for await (const stream of manager.streams.names())
      if (stream.startsWith(`${name}-`)) await manager.streams.delete(stream);
    await connection.close();
  },
};

/** Cleans up after the backends of these types; those that keep everything in a folder need nothing. */
export async function cleanUpAfter(name, types) {
  for (const type of new Set(types)) await cleaners[type]?.(name);
}
