// Cases that every cloud store must pass beside the object store suite: what it says when the network or the service fails.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { isOmniQError, type OmniQErrorCode } from "@omniq/core";
import { type ObjectStore, probeStore } from "@omniq/file";
import type { Fault, Operation, OperationKind, StoreServer } from "./store-server.ts";

export interface StoreCaseWorld {
  readonly server: StoreServer;
  /** A store under a prefix that no other case has. `wrong` has bad credentials, `container` names another container. */
  readonly open: (options?: {
    readonly timeoutMs?: number;
    readonly container?: string;
    readonly wrong?: boolean;
  }) => ObjectStore;
  /** What must not stand in any message. */
  readonly secret: string;
}
export interface StoreCase {
  readonly title: string;
  run(world: StoreCaseWorld): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (body: Uint8Array | undefined): string | undefined => body && new TextDecoder().decode(body);

/** Faults for the next requests of a kind, in order; everything else is left alone. */
export function script(kind: OperationKind, ...faults: readonly Fault[]): (operation: Operation) => Fault | undefined {
  const left = [...faults];
  return (operation) => (operation.kind === kind ? left.shift() : undefined);
}

async function rejects(
  call: Promise<unknown>,
  code: OmniQErrorCode,
  retryable: boolean,
  secret: string,
): Promise<string> {
  const error = await call.then(
    (value) => assert.fail(`resolved with ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  assert.ok(isOmniQError(error, code), `${code} was expected, but it is ${String(error)}`);
  assert.equal(error.retryable, retryable);
  tellsNoSecret(error, secret);
  return error.message;
}

/** However somebody looks at it. */
function tellsNoSecret(value: unknown, secret: string): void {
  const shown = [
    inspect(value, { depth: Infinity, showHidden: true, getters: true }),
    inspect(value, { depth: Infinity, customInspect: false, showHidden: true }),
    JSON.stringify(value) ?? "",
    String(value),
  ];
  for (const text of shown) assert.ok(!text.includes(secret), "a secret is shown");
}

const passing: readonly number[] = [408, 429, 500, 502, 503, 504];

export const storeCases: readonly StoreCase[] = [
  {
    title: "a store and its errors show no secret, at any depth",
    async run({ server, open, secret }) {
      const store = open();
      await store.create("a", bytes("1"));
      server.fault = script("create", { type: "refuse", status: 503 });
      const { cause } = await store.create("b", bytes("2"));
      assert.ok(cause instanceof Error);
      tellsNoSecret(cause, secret);
      tellsNoSecret(store, secret);
      for (const status of [400, 403, 507]) {
        server.fault = () => ({ type: "refuse", status });
        const calls = await Promise.allSettled([store.read("a"), store.list(""), store.create("c", bytes("3"))]);
        for (const call of calls) tellsNoSecret(call, secret);
      }
      server.fault = undefined;
      tellsNoSecret(
        await open({ wrong: true })
          .read("a")
          .catch((error: unknown) => error),
        secret,
      );
    },
  },
  {
    title: "close ends what is under way and is never answered, and keeps nothing waiting",
    async run({ server, open }) {
      const store = open();
      await store.read("log/0");
      server.fault = () => ({ type: "hang" });
      const calls = [store.read("a"), store.list(""), store.create("b", bytes("1")), store.delete(["a"])];
      const ends = Promise.allSettled(calls);
      await sleep(50);
      const begun = performance.now();
      await store.close();
      for (const end of await ends)
        assert.ok(end.status === "rejected" && isOmniQError(end.reason, "OMNIQ_CLOSED"), JSON.stringify(end));
      assert.ok(performance.now() - begun < 2_000, `${performance.now() - begun} ms`);
    },
  },
  {
    title: "an object that is larger than the caller can hold comes without its body",
    async run({ open }) {
      const store = open();
      await store.create("a", new Uint8Array(300_000).fill(7));
      assert.equal((await store.read("a", 299_999)).object?.body.byteLength, 0);
      assert.equal((await store.read("a", 300_000)).object?.body.byteLength, 300_000);
    },
  },
  ...passing.map((status) => ({
    title: `a create that is answered ${status} is unknown, is sent once, and is created when it is sent again`,
    async run({ server, open }: StoreCaseWorld) {
      const store = open();
      server.fault = script("create", { type: "refuse", status });
      const before = server.counts.create;
      const { state, cause } = await store.create("log/1", bytes("1"));
      assert.equal(state, "unknown");
      assert.ok(isOmniQError(cause, "OMNIQ_BACKEND_UNAVAILABLE"));
      assert.equal(server.counts.create, before + 1);
      assert.equal((await store.create("log/1", bytes("1"))).state, "created");
    },
  })),
  {
    title: "a refusal that is cut in the middle is unknown, and the next answer is that something is there",
    async run({ server, open }) {
      const store = open();
      await store.create("log/1", bytes("1"));
      server.fault = script("create", { type: "cut-body" });
      const { state } = await store.create("log/1", bytes("2"));
      assert.ok(state === "unknown" || state === "exists", state);
      assert.equal((await store.create("log/1", bytes("2"))).state, "exists");
      assert.equal(text((await store.read("log/1")).object?.body), "1");
    },
  },
  {
    title: "a connection that is cut before the write is unknown, and then nothing is there",
    async run({ server, open }) {
      const store = open();
      server.fault = script("create", { type: "drop-before" });
      assert.equal((await store.create("log/1", bytes("1"))).state, "unknown");
      assert.equal((await store.read("log/1")).object, undefined);
    },
  },
  {
    title: "a connection that is cut after the write is unknown; sent again it exists, and is what was sent",
    async run({ server, open }) {
      const store = open();
      server.fault = script("create", { type: "drop-after" });
      assert.equal((await store.create("log/1", bytes("mine"))).state, "unknown");
      assert.equal((await store.create("log/1", bytes("mine"))).state, "exists");
      assert.equal(text((await store.read("log/1")).object?.body), "mine");
    },
  },
  {
    title: "a write that lands late is unknown, is not there at first, and then is",
    async run({ server, open }) {
      const store = open();
      server.fault = script("create", { type: "late", ms: 300 });
      assert.equal((await store.create("log/1", bytes("late"))).state, "unknown");
      assert.equal((await store.read("log/1")).object, undefined);
      for (let i = 0; i < 100 && (await store.read("log/1")).object === undefined; i += 1) await sleep(50);
      assert.equal((await store.create("log/1", bytes("mine"))).state, "exists");
      assert.equal(text((await store.read("log/1")).object?.body), "late");
    },
  },
  {
    title: "a write that is never answered is unknown after timeoutMs",
    async run({ server, open }) {
      const store = open({ timeoutMs: 300 });
      // The connection, and the credentials, are not what is measured.
      await store.read("log/0");
      server.fault = script("create", { type: "hang" });
      assert.equal((await store.create("log/1", bytes("mine"))).state, "unknown");
      assert.equal(text((await open().read("log/1")).object?.body), "mine");
    },
  },
  {
    title: "a replace whose answer is lost is unknown, sent once, and its revision is gone afterwards",
    async run({ server, open }) {
      const store = open();
      await store.create("a", bytes("1"));
      const { object } = await store.read("a");
      server.fault = script("replace", { type: "drop-after" });
      const before = server.counts.replace;
      assert.equal((await store.replace("a", bytes("2"), object?.revision ?? "")).state, "unknown");
      assert.equal(server.counts.replace, before + 1);
      assert.equal(text((await store.read("a")).object?.body), "2");
      assert.equal((await store.replace("a", bytes("3"), object?.revision ?? "")).state, "conflict");
    },
  },
  {
    title: "reads, lists and deletes go on over passing failures and bodies that are cut",
    async run({ server, open }) {
      const store = open();
      await store.create("a", new Uint8Array(100_000).fill(5));
      server.fault = script("read", { type: "refuse", status: 503 }, { type: "drop-after" }, { type: "cut-body" });
      const { object } = await store.read("a");
      assert.equal(object?.body.byteLength, 100_000);
      // The answer that nothing is there can be cut as well.
      server.fault = script("read", { type: "cut-body" }, { type: "drop-before" });
      assert.equal((await store.read("nothing")).object, undefined);
      server.fault = script("list", { type: "refuse", status: 500 }, { type: "cut-body" }, { type: "drop-before" });
      assert.deepEqual(
        (await store.list("")).objects.map(({ key }) => key),
        ["a"],
      );
      server.fault = script("delete", { type: "refuse", status: 503 }, { type: "drop-after" });
      await store.delete(["a"]);
      assert.equal((await store.read("a")).object, undefined);
    },
  },
  {
    title: "reads that go on failing are OMNIQ_BACKEND_UNAVAILABLE",
    async run({ server, open, secret }) {
      const store = open();
      server.fault = ({ kind }) => (kind === "read" ? { type: "refuse", status: 503 } : undefined);
      await rejects(store.read("a"), "OMNIQ_BACKEND_UNAVAILABLE", true, secret);
      server.fault = ({ kind }) => (kind === "list" ? { type: "drop-before" } : undefined);
      await rejects(store.list(""), "OMNIQ_BACKEND_UNAVAILABLE", true, secret);
    },
  },
  {
    title: "answers carry the store's times: of the write, and of the answer, absences included",
    async run({ open }) {
      const store = open();
      const before = Math.floor(Date.now() / 1_000) * 1_000;
      const created = await store.create("log/1", bytes("1"));
      const read = await store.read("log/1");
      const absent = await store.read("log/2");
      const list = await store.list("log/");
      const taken = await store.create("log/1", bytes("2"));
      const replaced = await store.replace("log/1", bytes("3"), read.object?.revision ?? "");
      const after = Date.now();
      const times = [created, read, absent, list, taken, replaced].map(({ date }) => date);
      for (const time of [...times, read.object?.lastModified, list.objects[0]?.lastModified])
        assert.ok(
          time !== undefined && time >= before && time <= after,
          `${time} is not between ${before} and ${after}`,
        );
    },
  },
  {
    title: "a list of many pages is whole, in order, and stops at its limit",
    async run({ open }) {
      const store = open();
      const keys = Array.from({ length: 12 }, (_, i) => `log/${String(i).padStart(3, "0")}`);
      await Promise.all(keys.map((key) => store.create(key, bytes(key))));
      const listed = async (...given: [string, string?, number?]) =>
        (await store.list(...given)).objects.map(({ key }) => key);
      assert.deepEqual(await listed("log/"), keys);
      assert.deepEqual(await listed("log/", "log/003", 7), keys.slice(4, 11));
      assert.deepEqual(await listed("log/", "log/0035", 1), keys.slice(4, 5));
    },
  },
  {
    title: "a container that does not exist is an error that names it and says how to make it",
    async run({ open, secret }) {
      for (const call of [
        (store: ObjectStore) => store.read("a"),
        (store: ObjectStore) => store.create("a", bytes("1")),
        (store: ObjectStore) => store.list(""),
      ]) {
        const message = await rejects(call(open({ container: "not-there" })), "OMNIQ_BACKEND_FAILED", false, secret);
        assert.match(message, /"not-there" does not exist in .*: make it with `.*not-there/);
      }
    },
  },
  {
    title: "denied access is an error that names the container and what must be allowed",
    async run({ open, secret }) {
      for (const call of [
        (store: ObjectStore) => store.read("a"),
        (store: ObjectStore) => store.create("a", bytes("1")),
        (store: ObjectStore) => store.delete(["a"]),
        (store: ObjectStore) => store.list(""),
      ]) {
        const message = await rejects(call(open({ wrong: true })), "OMNIQ_BACKEND_FAILED", false, secret);
        assert.match(message, /denied access to (bucket|container) "orders" \(40[13].*check the credentials.*allow/);
      }
    },
  },
  {
    title: "no room left is OMNIQ_BACKEND_FULL, and a store that knows no conditions is OMNIQ_UNSUPPORTED",
    async run({ server, open, secret }) {
      const store = open();
      server.fault = script("create", { type: "refuse", status: 507 }, { type: "refuse", status: 501 });
      await rejects(store.create("a", bytes("1")), "OMNIQ_BACKEND_FULL", true, secret);
      await rejects(store.create("a", bytes("1")), "OMNIQ_UNSUPPORTED", false, secret);
    },
  },
  {
    title: "the probe passes, also when its answers are lost, and leaves nothing behind",
    async run({ server, open }) {
      const store = open();
      await probeStore(store);
      server.fault = script("create", { type: "drop-after" }, { type: "refuse", status: 503 });
      await probeStore(store);
      assert.deepEqual((await store.list("")).objects, []);
    },
  },
  {
    title: "a closed store says so",
    async run({ open, secret }) {
      const store = open();
      await store.read("a");
      await store.close();
      await store.close();
      await rejects(store.read("a"), "OMNIQ_CLOSED", false, secret);
      await rejects(store.create("a", bytes("1")), "OMNIQ_CLOSED", false, secret);
      await rejects(store.list(""), "OMNIQ_CLOSED", false, secret);
      await rejects(store.delete(["a"]), "OMNIQ_CLOSED", false, secret);
    },
  },
];
