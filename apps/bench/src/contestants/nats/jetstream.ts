// A work queue made by hand on JetStream, the floor: a stream, a pull consumer, acknowledgements. No retries with delay, priorities, counts, results.
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, type JsMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Contestant, Payload } from "../../frame/contestant.ts";

const encoder = new TextEncoder();

export const contestant: Contestant = {
  name: "JetStream by hand",
  ours: false,
  packages: ["@nats-io/jetstream"],
  settings:
    "work-queue stream, one durable pull consumer, each message acknowledged after the work and the acknowledgement awaited",
  durability: "the server's: a publish resolves when the stream has stored it",
  results: "none; finished messages are deleted",
  shared: true,
  async open({ url, prefix }) {
    const connection = await connect({ servers: url });
    const manager = await jetstreamManager(connection);
    const js = jetstream(connection);
    const [stream, subject] = [`${prefix}-work`, `${prefix}.work`];
    await manager.streams.add({ name: stream, subjects: [subject], retention: RetentionPolicy.Workqueue });
    await manager.consumers.add(stream, {
      durable_name: "workers",
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: 10_000,
    });
    const publish = (payload: Payload): Promise<unknown> =>
      js.publish(subject, encoder.encode(JSON.stringify(payload)));
    return {
      add: publish,
      addMany: (payloads) => Promise.all(payloads.map(publish)),
      async work(concurrency, handle) {
        const consumer = await js.consumers.get(stream, "workers");
        const fetched: JsMsg[] = [];
        let active = 0;
        let idle: () => void = () => {};
        const take = async (message: JsMsg): Promise<void> => {
          await handle(message.json<Payload>());
          await message.ackAck();
          active--;
          next();
        };
        const next = (): void => {
          while (active < concurrency) {
            const message = fetched.shift();
            if (message === undefined) break;
            active++;
            void take(message);
          }
          if (active === 0) idle();
        };
        const messages = await consumer.consume({
          max_messages: Math.max(concurrency, 2),
          callback: (message) => {
            fetched.push(message);
            next();
          },
        });
        return {
          stop: async () => {
            messages.stop();
            for (const message of fetched.splice(0)) message.nak();
            if (active > 0) await new Promise<void>((resolve) => (idle = resolve));
            await connection.flush();
          },
        };
      },
      async waiting() {
        return (await manager.streams.info(stream)).state.messages;
      },
      close: () => connection.close(),
    };
  },
};
