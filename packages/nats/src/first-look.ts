// What a process looks at once before its first call: that all processes have the same partitions, and how durable the log is.
import { OmniQError } from "@omniq/core";
import type { StreamConfig } from "@nats-io/jetstream";
import type { Connection } from "./connection.ts";
import { durabilityOf, warnOfDurability, type NatsDurability } from "./durability.ts";
import { logStream } from "./log.ts";
import type { CheckedOptions } from "./options.ts";
import { defaultPartition, type Partitions } from "./partitions.ts";
import type { Stream } from "./stream.ts";

/**
 * A queue of two logs would lose the sight of half of its tasks, so all processes of a namespace must have the same partitions. The default log is
 * made by whoever comes first and carries the partitions in its description, which every server has.
 */
export class FirstLook {
  readonly #connection: Connection;
  readonly #options: CheckedOptions;
  readonly #wanted: string | undefined;
  readonly #stream: Stream;
  #looked: Promise<void> | undefined;

  constructor(connection: Connection, options: CheckedOptions, partitions: Partitions) {
    const { prefix, replicas } = options;
    this.#connection = connection;
    this.#options = options;
    this.#wanted = partitions.layout;
    const names = { prefix, partition: defaultPartition, layout: this.#wanted };
    this.#stream = logStream(connection, names, replicas);
  }

  /** Rejects with `OMNIQ_CONFIG_INVALID` when the namespace has other partitions; warns of what is not durable. Asks the server once. */
  look(): Promise<void> {
    return (this.#looked ??= this.#look().catch((error: unknown) => {
      this.#looked = undefined;
      throw error;
    }));
  }

  /** Asks the server anew. */
  async durability(): Promise<NatsDurability> {
    const [settings, { nats }] = [await this.#settings(), await this.#connection.open()];
    return durabilityOf(settings, nats.info?.version ?? "unknown");
  }

  async #look(): Promise<void> {
    const settings = await this.#settings();
    const found = settings.description ?? "";
    if (found !== (this.#wanted ?? "")) {
      const { prefix } = this.#options;
      throw new OmniQError(
        "OMNIQ_CONFIG_INVALID",
        `The option partitions of this process is ${this.#wanted ?? "{}"}, that of prefix ${prefix} is ${found === "" ? "{}" : found}: ` +
          "all processes must have the same; the README says how to change it",
      );
    }
    if (!this.#options.durabilityWarning) return;
    const { nats } = await this.#connection.open();
    warnOfDurability(nats.getServer(), durabilityOf(settings, nats.info?.version ?? "unknown"));
  }

  async #settings(): Promise<StreamConfig> {
    for (let tries = 0; tries < 3; tries++) {
      const settings = await this.#stream.settings();
      if (settings !== undefined) return settings;
      await this.#stream.make();
    }
    throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", `Stream ${this.#stream.name} was made and is not there`);
  }
}
