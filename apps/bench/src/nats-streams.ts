// The NATS server that the benchmarks use, and how they remove the streams that they made.
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

export const servers: string[] = [process.env["OMNIQ_TEST_NATS_URL"] ?? "nats://127.0.0.1:4222"];

/** Removes the streams whose name begins with the prefix. */
export async function removeStreams(prefix: string): Promise<void> {
  const connection = await connect({ servers });
  const manager = await jetstreamManager(connection);
  for await (const name of manager.streams.names()) if (name.startsWith(prefix)) await manager.streams.delete(name);
  await connection.close();
}
