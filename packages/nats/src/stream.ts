// One JetStream stream as the log and the checkpoints use it: made when missing, published to, read by sequence from its leader.
import { OmniQError } from "@omniq/core";
import { DiscardPolicy, RetentionPolicy, StorageType, type StoredMsg, type StreamConfig } from "@nats-io/jetstream";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";
import { apiCodes, apiFailure, isApiError, natsFailure } from "./failures.ts";

export interface StreamEnds {
  /** The first and the last sequence; `last` is 0 for a stream that never had a message, and `first` then is `last + 1`. */
  readonly first: number;
  readonly last: number;
}

export class Stream {
  readonly name: string;
  readonly #connection: Connection;
  readonly #config: Partial<StreamConfig> & { readonly name: string };

  constructor(
    connection: Connection,
    name: string,
    subjects: readonly string[],
    replicas: number,
    more: Partial<StreamConfig> = {},
  ) {
    this.#connection = connection;
    this.name = name;
    this.#config = {
      name,
      subjects: [...subjects],
      num_replicas: replicas,
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      max_age: 0,
      max_msgs: -1,
      max_bytes: -1,
      max_msg_size: -1,
      ...more,
    };
  }

  /** Where the stream begins and ends, as its leader says; undefined when there is no such stream. */
  async ends(): Promise<StreamEnds | undefined> {
    try {
      const { state } = await this.#connection.manage(`Looking at stream ${this.name}`, (manager) =>
        manager.streams.info(this.name),
      );
      return { first: state.messages === 0 ? state.last_seq + 1 : state.first_seq, last: state.last_seq };
    } catch (error) {
      if (isApiError(error, apiCodes.streamNotFound)) return undefined;
      throw natsFailure(error, `Looking at stream ${this.name}`);
    }
  }

  /** How the stream is set; undefined when there is no such stream. */
  async settings(): Promise<StreamConfig | undefined> {
    try {
      const { config } = await this.#connection.manage(`Looking at stream ${this.name}`, (manager) =>
        manager.streams.info(this.name),
      );
      return config;
    } catch (error) {
      if (isApiError(error, apiCodes.streamNotFound)) return undefined;
      throw natsFailure(error, `Looking at stream ${this.name}`);
    }
  }

  /** Makes the stream unless it is there. One that is there with other settings stays as it is. */
  async make(): Promise<void> {
    try {
      await this.#connection.manage(`Making stream ${this.name}`, (manager) => manager.streams.add(this.#config));
    } catch (error) {
      if (isApiError(error, apiCodes.streamNameInUse)) return;
      // Of several who make it at once, some are told that its subjects overlap with those of a stream, which is this one (seen on 2.9).
      if (isApiError(error, apiCodes.subjectsOverlap) && (await this.ends()) !== undefined) return;
      throw natsFailure(error, `Making stream ${this.name}`);
    }
  }

  /** Stores a message and answers its sequence. */
  async publish(subject: string, message: Uint8Array): Promise<number> {
    return (await this.#publish(subject, message)) as number;
  }
  /** The same, if the last message of the subject is the one at that sequence (0: there is none); undefined if it is not. */
  async publishAfter(last: number, subject: string, message: Uint8Array): Promise<number | undefined> {
    const conditions = headers();
    conditions.set("Nats-Expected-Last-Subject-Sequence", String(last));
    return await this.#publish(subject, message, conditions);
  }
  async #publish(subject: string, message: Uint8Array, conditions?: MsgHdrs): Promise<number | undefined> {
    const answer = await this.#connection.request(subject, message, conditions);
    let told: { seq?: number; stream?: string; error?: { code: number; err_code?: number; description: string } };
    try {
      told = JSON.parse(Buffer.from(answer.data).toString("utf8")) as typeof told;
    } catch (cause) {
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `Stream ${this.name}: the answer to a publish is not one of JetStream`,
        {
          cause,
        },
      );
    }
    if (told.error !== undefined) {
      const { code, err_code = 0, description } = told.error;
      if (conditions !== undefined && err_code === apiCodes.wrongLastSequence) return undefined;
      throw apiFailure(err_code, code, description, `Writing to stream ${this.name}`);
    }
    if (typeof told.seq !== "number" || told.stream !== this.name) {
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `The subject ${subject} belongs to another stream (${told.stream ?? "none"}); choose another prefix`,
      );
    }
    return told.seq;
  }

  /** The message at a sequence, the last one of a subject, or the first one of a subject from a sequence on. */
  async message(
    query: { readonly seq: number; readonly next_by_subj?: string } | { readonly last_by_subj: string },
  ): Promise<StoredMsg | undefined> {
    try {
      const found = await this.#connection.manage(`Reading stream ${this.name}`, (manager) =>
        manager.streams.getMessage(this.name, query),
      );
      return found ?? undefined;
    } catch (error) {
      if (isApiError(error, apiCodes.noMessageFound, apiCodes.streamNotFound, apiCodes.sequenceNotFound))
        return undefined;
      throw natsFailure(error, `Reading stream ${this.name}`);
    }
  }

  /** Has another replica lead the stream, where there is one. */
  async stepDown(): Promise<void> {
    await this.#connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${this.name}`, "");
  }

  /** Removes all messages before a sequence. */
  async purgeBefore(sequence: number): Promise<void> {
    // Servers up to 2.9 take a sequence of 0 or 1 as "everything".
    if (sequence <= 1) return;
    try {
      await this.#connection.manage(`Purging stream ${this.name}`, (manager) =>
        manager.streams.purge(this.name, { seq: sequence }),
      );
    } catch (error) {
      throw natsFailure(error, `Purging stream ${this.name}`);
    }
  }
}
