// What an acknowledgement of JetStream is worth, as far as a client can learn it, in words for whoever runs the queue.
import { StorageType, type StreamConfig } from "@nats-io/jetstream";

/** What NATS keeps of what it acknowledged. */
export interface NatsDurability {
  /** The version of the server that this process is connected to. */
  readonly serverVersion: string;
  /** How many servers keep the default log, whatever the option says. */
  readonly replicas: number;
  /**
   * What acknowledged calls survive for sure. `nothing`: the stream was set to memory, or to be written later. `process`: the death of the server's
   * process. `machine`: the loss of a minority of the machines that keep it, on servers from 2.10.23 on. The loss of power of all of them at once only a server with
   * `sync_interval: always` survives, and a client can't see whether it has that.
   */
  readonly survives: "nothing" | "process" | "machine";
  /** The same as a sentence. */
  readonly text: string;
}

/** `persist_mode` is of servers from 2.12 on. */
export function durabilityOf(
  settings: Pick<StreamConfig, "name" | "storage" | "num_replicas"> & { readonly persist_mode?: unknown },
  serverVersion: string,
): NatsDurability {
  const { name, storage, num_replicas: replicas } = settings;
  if (storage === StorageType.Memory) {
    const text = `Stream ${name} is kept in memory: a restart of its servers loses all; make it anew with file storage`;
    return { serverVersion, replicas, survives: "nothing", text };
  }
  if (settings.persist_mode === "async") {
    const text = `Stream ${name} has persist_mode async: it acknowledges what is not written yet, and a crash of the server loses it`;
    return { serverVersion, replicas, survives: "nothing", text };
  }
  if (replicas < 3) {
    const text =
      `Stream ${name} has ${replicas === 1 ? "1 replica" : `${replicas} replicas`}: what was acknowledged survives the death of the server's process, ` +
      "and is flushed to the disk at the server's sync_interval (by default every 2 minutes), so that a power cut of the machine may take the last " +
      "moments, unless the server has sync_interval: always (2.10 and newer)";
    return { serverVersion, replicas, survives: "process", text };
  }
  if (losesReplicas(serverVersion)) {
    const text =
      `Stream ${name} has ${replicas} replicas, on servers of ${serverVersion}: a node that was killed may come back without messages that it had ` +
      "acknowledged, and lead the stream; servers from 2.10.23 on do not do that";
    return { serverVersion, replicas, survives: "process", text };
  }
  const text =
    `Stream ${name} has ${replicas} replicas: what was acknowledged is on most of them and survives the loss of the others; each flushes it to ` +
    "its disk at its sync_interval, so that a power cut of all at once may take the last moments, unless they have sync_interval: always (2.10 and newer)";
  return { serverVersion, replicas, survives: "machine", text };
}

/**
 * Whether nodes of a cluster of that version lose or fork streams when their processes are killed. Found by Jepsen in 2.10.20 to 2.10.22 and mended in
 * 2.10.23 (https://jepsen.io/analyses/nats-2.12.1), and by our own test in 2.9.10. A version that can't be read is taken as new.
 */
export function losesReplicas(serverVersion: string): boolean {
  const [major = 0, minor = 0, patch = 0] = serverVersion.split(/[.-]/).map(Number);
  return major < 2 || (major === 2 && (minor < 10 || (minor === 10 && patch < 23)));
}

/** Servers that this process was warned about. */
const warned = new Set<string>();

/** Warns once in a process of each server, where the loss of one machine, or less, loses what was acknowledged. */
export function warnOfDurability(server: string, { survives, text }: NatsDurability): void {
  const key = `${server} ${survives}`;
  if (survives === "machine" || warned.has(key)) return;
  warned.add(key);
  process.emitWarning(`NATS at ${server}: ${text}. The option durabilityWarning: false silences this`, {
    type: "OmniQWarning",
    code: "OMNIQ_NATS_DURABILITY",
  });
}
