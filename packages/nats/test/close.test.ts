// A server that is away or stalled holds up neither close nor an abort; what a backend holds shows no secret.
import { inspect } from "node:util";
import { nats, type NatsBackend, type NatsOptions } from "@omniq/nats";
import { afterEach, describe, expect, test } from "vitest";
import { Proxy } from "./proxy.ts";
import { TestServer } from "./server.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});
const task = (id: string) => ({
  id,
  name: "n",
  queue: "q",
  payload: "p",
  envelope: "{}",
  priority: 0,
  maxAttempts: 1,
  resultTtlMs: null,
  rememberMs: 60_000,
});
const request = { queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 60_000, worker: "w" } as const;
async function seconds(work: Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work;
  return (performance.now() - begun) / 1_000;
}
const shown = (value: unknown): string =>
  [
    inspect(value, { depth: Infinity, showHidden: true, getters: true }),
    JSON.stringify(value),
    value instanceof Error ? `${value.message} ${value.stack}` : "",
  ].join();

describe.each(["stalled", "away"] as const)("a server that is %s", (how) => {
  test.each(["before the first call", "after it"])(
    "%s: calls can be aborted, close ends them in time",
    async (when) => {
      const server = await TestServer.start();
      closers.push(() => server.stop());
      const proxy = await Proxy.start(server.port);
      closers.push(() => proxy.stop());
      const backend = nats({ servers: proxy.url, prefix: "c", durabilityWarning: false, giveUpMs: 30_000 });
      const queue = backend.taskQueue();
      if (when === "after it") {
        await queue.enqueue([{ tasks: [task("a")] }]);
        await queue.counts();
      }
      if (how === "stalled") proxy.hush();
      else await server.kill();
      const abort = new AbortController();
      const aborted = Promise.allSettled([
        queue.reserve(request, { signal: abort.signal }),
        queue.counts(undefined, { signal: abort.signal }),
      ]);
      setTimeout(() => abort.abort(new Error("enough")), 100);
      expect(await seconds(aborted)).toBeLessThan(2);
      const left = Promise.allSettled([
        queue.enqueue([{ tasks: [task("b")] }]),
        queue.counts(),
        queue.reserve(request),
      ]);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await seconds(backend.close())).toBeLessThan(2);
      for (const end of await left) expect(end.status).toBe("rejected");
    },
  );
});

test("a write that was sent and never answered is of unknown outcome; one that was never sent is not", async () => {
  const server = await TestServer.start();
  closers.push(() => server.stop());
  const proxy = await Proxy.start(server.port);
  closers.push(() => proxy.stop());
  const open = (): NatsBackend => {
    const backend = nats({ servers: proxy.url, prefix: "u", durabilityWarning: false, giveUpMs: 1_500 });
    closers.push(() => backend.close());
    return backend;
  };
  const [direct, replayed, away] = [open().taskQueue(), open().taskQueue(), open().taskQueue()];
  for (const queue of [direct, replayed, away]) await queue.enqueue([{ tasks: [task("first")] }]);
  await replayed.counts();
  await away.counts();
  proxy.hush();
  const calls = [
    direct.enqueue([{ tasks: [task("t")] }]),
    replayed.pause("q"),
    replayed.cancel(["first"]),
    replayed.configureQueue("q", { maxActive: 1 }),
  ];
  for (const end of await Promise.allSettled(calls))
    expect(end).toMatchObject({ status: "rejected", reason: { code: "OMNIQ_OUTCOME_UNKNOWN", retryable: true } });
  await server.kill();
  proxy.cut();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await expect(away.pause("q")).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE" });
}, 60_000);

test("passwords, tokens and keys are shown by nothing that a backend holds, and in no error", async () => {
  const secret = "hunter2-never-told";
  const server = await TestServer.start('authorization { user: u, password: "p" }\n');
  closers.push(() => server.stop());
  const ways: readonly NatsOptions[] = [
    { username: "u", password: secret },
    { token: secret },
    { username: "u", password: "p", tls: { key: secret, cert: secret } },
  ];
  for (const way of ways) {
    const backend = nats({ servers: server.url, ...way, giveUpMs: 200, durabilityWarning: false });
    closers.push(() => backend.close());
    const error = await backend
      .taskQueue()
      .counts()
      .catch((reason: unknown) => reason);
    for (const value of [backend, backend.taskQueue(), backend.eventStorage(), { deep: [{ backend }] }, error])
      expect(shown(value)).not.toContain(secret);
    expect(error).toBeInstanceOf(Error);
    // A thread of the worker's gets them whole.
    expect(JSON.stringify(structuredClone(backend.remote?.options))).toContain(secret);
  }
}, 60_000);
