// What the tests share: where the server is, and how a test removes the streams that it made.
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

export const servers = [process.env["OMNIQ_TEST_NATS_URL"] ?? "nats://127.0.0.1:4222"];

let shared: Promise<NatsConnection> | undefined;

/** Removes the streams whose name begins with the prefix. */
export async function removeStreams(prefix: string): Promise<void> {
  const manager = await jetstreamManager(await (shared ??= connect({ servers })), { checkAPI: false });
  for await (const name of manager.streams.names())
    if (name.startsWith(`${prefix}-`)) await manager.streams.delete(name);
}
