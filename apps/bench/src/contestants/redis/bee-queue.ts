// bee-queue on Redis.
import Bee from "bee-queue";
import type { Contestant, Payload } from "../../frame/contestant.ts";

export const contestant: Contestant = {
  name: "bee-queue",
  ours: false,
  packages: ["bee-queue"],
  settings: "as it comes",
  durability: "the server's",
  results: "sent to whoever listens; the finished job is kept without them",
  shared: true,
  async open({ url, prefix }) {
    const settings = { redis: { host: "127.0.0.1", port: Number(new URL(url).port) }, prefix };
    const producer = new Bee<Payload>("work", { ...settings, isWorker: false });
    await producer.ready();
    return {
      add: (payload) => producer.createJob(payload).save(),
      addMany: (payloads) => producer.saveAll(payloads.map((payload) => producer.createJob(payload))),
      async work(concurrency, handle) {
        const consumer = new Bee<Payload>("work", { ...settings, getEvents: false, sendEvents: true });
        await consumer.ready();
        consumer.process(concurrency, async (job: Bee.Job<Payload>) => handle(job.data));
        return { stop: () => consumer.close(5_000) };
      },
      async roundTrip(payload) {
        const job = producer.createJob(payload);
        const over = new Promise((resolve, reject) => {
          job.on("succeeded", resolve);
          job.on("failed", reject);
        });
        await job.save();
        return over;
      },
      async waiting() {
        const { waiting, active, delayed } = await producer.checkHealth();
        return waiting + active + delayed;
      },
      close: () => producer.close(5_000),
    };
  },
};
