// What the tests share: where the servers are, what the kit runs with, and how a test removes the streams that it made.
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { NatsOptions } from "@omniq/nats";

/** Several of one cluster are joined by commas. */
export const servers = (process.env["OMNIQ_TEST_NATS_URL"] ?? "nats://127.0.0.1:4222").split(",");
const replicas = Number(process.env["OMNIQ_TEST_NATS_REPLICAS"] ?? 1);
const partitions = Number(process.env["OMNIQ_TEST_NATS_PARTITIONS"] ?? 1);

/** The queues of the kit's cases; those that depend on each other, share ids, or are of one call, are together. The rest are in `default`. */
export const kitPartitions: Readonly<Record<string, readonly string[]>> = {
  one: ["main", "parents", "other"],
  two: ["q", "a", "x", "first"],
  three: ["b", "y", "second"],
};

/** Options of one namespace of the conformance kit, with what the environment asks for. */
export function kitOptions(prefix: string): NatsOptions {
  return {
    servers,
    prefix,
    durabilityWarning: false,
    ...(replicas > 1 ? { replicas, giveUpMs: 30_000 } : {}),
    ...(partitions > 1
      ? { partitions: Object.fromEntries(Object.entries(kitPartitions).slice(0, partitions - 1)) }
      : {}),
  };
}

let shared: Promise<NatsConnection> | undefined;

/** Removes the streams whose name begins with the prefix. */
export async function removeStreams(prefix: string): Promise<void> {
  const manager = await jetstreamManager(await (shared ??= connect({ servers })), { checkAPI: false });
  for await (const name of manager.streams.names())
    if (name.startsWith(`${prefix}-`)) await manager.streams.delete(name);
}
