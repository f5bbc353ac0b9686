// The live end of a log: an ordered push consumer that buffers what the server sends, notices what got lost on the way, and starts over.
import { randomUUID } from "node:crypto";
import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import { createInbox } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, ReplayPolicy } from "@nats-io/jetstream";
import type { Connection } from "./connection.ts";
import { natsFailure } from "./failures.ts";

/** A message as the consumer delivered it. */
export interface Delivery {
  readonly sequence: number;
  readonly data: Uint8Array;
  /** The server's time of the message: epoch milliseconds. */
  readonly storedAt: number;
  /** It came when everything before it had come: its time is now. */
  readonly live: boolean;
}

/** The server says so often that it is there; after so many of them without a word the feed has died, with its node perhaps. */
const heartbeatMs = 1_000;
const silentBeats = 3;
/** How long the server keeps a consumer to which nobody listens. */
const inactiveMs = 10_000;
/** The server is told to go on when no more than this is buffered. */
const bufferBytes = 16 * 1024 * 1024;

/**
 * A consumer of one stream from one sequence on. It has no memory on the server beyond itself: after any doubt it is dropped and another is
 * started where this one stopped. `onChange` is called when there is something new, and when it has stopped.
 */
export class Feed {
  readonly #connection: Connection;
  readonly #stream: string;
  readonly #onChange: () => void;
  #subscription: Subscription | undefined;
  #consumer: string | undefined;
  #deliveries: Delivery[] = [];
  #bytes = 0;
  #silent = 0;
  #count = 0;
  #live = false;
  #watchdog: NodeJS.Timeout | undefined;
  #continue: string | undefined;
  #nats: NatsConnection | undefined;
  /** The sequence of the last message that came. */
  last = 0;
  stopped = false;
  /** It stopped since a message was left out: the node that fed it does not have it. */
  gap = false;

  constructor(connection: Connection, stream: string, onChange: () => void) {
    this.#connection = connection;
    this.#stream = stream;
    this.#onChange = onChange;
  }

  /** Starts at a sequence. */
  async start(sequence: number): Promise<void> {
    const { nats } = await this.#connection.open();
    this.#nats = nats;
    this.last = sequence - 1;
    const inbox = createInbox(inboxPrefixOf(nats));
    this.#subscription = nats.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null || error === undefined) this.#receive(message);
        else this.stop();
      },
    });
    // Named, so that a call that is made twice makes one consumer.
    const consumer = randomUUID();
    try {
      const { name } = await this.#connection.manage(`Following stream ${this.#stream}`, (manager) =>
        manager.consumers.add(this.#stream, {
          name: consumer,
          inactive_threshold: inactiveMs * 1_000_000,
          deliver_subject: inbox,
          ack_policy: AckPolicy.None,
          replay_policy: ReplayPolicy.Instant,
          max_deliver: 1,
          flow_control: true,
          idle_heartbeat: heartbeatMs * 1_000_000,
          mem_storage: true,
          num_replicas: 1,
          ...(sequence <= 1
            ? { deliver_policy: DeliverPolicy.All }
            : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: sequence }),
        }),
      );
      this.#consumer = name;
    } catch (error) {
      this.stop();
      throw natsFailure(error, `Following stream ${this.#stream}`);
    }
    if (this.stopped) {
      this.#dropConsumer();
      return;
    }
    // Counted, not timed: a loop that was blocked has heard nothing, but its messages wait for it.
    this.#watchdog = setInterval(() => {
      if (++this.#silent > silentBeats) this.stop();
    }, heartbeatMs);
    this.#watchdog.unref();
  }

  get empty(): boolean {
    return this.#deliveries.length === 0;
  }

  /** Takes all that has come. */
  take(): readonly Delivery[] {
    const taken = this.#deliveries;
    this.#deliveries = [];
    this.#bytes = 0;
    if (this.#continue !== undefined) {
      this.#nats?.publish(this.#continue);
      this.#continue = undefined;
    }
    return taken;
  }

  /** Ends it; what has come can still be taken. Idempotent. */
  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    clearInterval(this.#watchdog);
    if (this.#subscription?.isClosed() === false) this.#subscription.unsubscribe();
    this.#dropConsumer();
    this.#onChange();
  }

  #dropConsumer(): void {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    // Only a courtesy: the server drops it by itself, as nobody listens any more.
    if (consumer !== undefined && !this.#connection.closed)
      this.#connection
        .manage("Ending a consumer", (manager) => manager.consumers.delete(this.#stream, consumer))
        .catch(() => undefined);
  }

  #receive(message: Msg): void {
    if (this.stopped) return;
    this.#silent = 0;
    if (message.headers !== undefined && message.headers.code >= 100 && message.data.length === 0) {
      this.#status(message);
      return;
    }
    // $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<count>.<nanoseconds>.<pending>[.<token>], ADR-15.
    const tokens = (message.reply ?? "").split(".");
    const at = tokens.length === 9 ? 5 : 7;
    const sequence = Number(tokens[at]);
    const count = Number(tokens[at + 1]);
    if (!Number.isSafeInteger(sequence) || count !== this.#count + 1 || sequence !== this.last + 1) {
      // Nothing is ever deleted but from the front, so a sequence that is left out is one that this node of a cluster does not have.
      this.gap = count === this.#count + 1 && sequence > this.last;
      this.stop();
      return;
    }
    this.#count = count;
    this.last = sequence;
    const storedAt = Number((tokens[at + 2] ?? "0").slice(0, -6));
    this.#deliveries.push({ sequence, data: message.data, storedAt, live: this.#live });
    this.#bytes += message.data.length;
    if (tokens[at + 3] === "0") this.#live = true;
    this.#onChange();
  }

  /** Heartbeats and flow control, ADR-9. */
  #status(message: Msg): void {
    const { code, headers } = { code: message.headers?.code ?? 0, headers: message.headers };
    if (code !== 100) {
      this.stop();
      return;
    }
    const counted = headers?.get("Nats-Last-Consumer") ?? "";
    if (counted !== "" && Number(counted) > this.#count) {
      this.stop();
      return;
    }
    const stalled = headers?.get("Nats-Consumer-Stalled") ?? "";
    const reply = message.reply !== undefined && message.reply !== "" ? message.reply : stalled;
    if (reply === "") return;
    if (this.#bytes > bufferBytes) this.#continue = reply;
    else this.#nats?.publish(reply);
  }
}

/** Of a connection that the user gave, too. */
function inboxPrefixOf(nats: NatsConnection): string | undefined {
  return (nats as { readonly options?: { readonly inboxPrefix?: string } }).options?.inboxPrefix;
}
