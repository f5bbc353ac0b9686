// Removes the streams that a run left on a server that is not ours. In JavaScript, so that scripts can use it too.
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

/** Deletes the streams of a prefix. */
export async function cleanUp(prefix) {
  const servers = [process.env.OMNIQ_TEST_NATS_URL ?? "nats://127.0.0.1:4222"];
  const connection = await connect({ servers });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    for await (const name of manager.streams.names())
      if (name.startsWith(`${prefix}-`)) await manager.streams.delete(name);
  } finally {
    await connection.close();
  }
}
