// The suite of the object store contract: what the commit log of @omniq/file relies on.
import assert from "node:assert/strict";
import type { ObjectStoreCase, StoreClient } from "./contract.ts";
import { awaitedLater } from "../conduct/waiting.ts";

export * from "./contract.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function textOf(store: StoreClient, key: string): Promise<string | undefined> {
  const object = await store.read(key);
  return object === undefined ? undefined : new TextDecoder().decode(object.body);
}

async function revisionOf(store: StoreClient, key: string): Promise<string> {
  const object = await store.read(key);
  assert.ok(object !== undefined, `${key} is not there`);
  return object.revision;
}

export const objectStoreCases: readonly ObjectStoreCase[] = [
  {
    rule: "store-read",
    title: "what is not there is undefined",
    async run(store) {
      assert.equal(await store.read("nothing"), undefined);
      assert.equal(await store.read("a/b/c"), undefined);
    },
  },
  {
    rule: "store-read",
    title: "all byte values, an empty body and 2 MiB come back byte for byte",
    async run(store) {
      const bodies = [
        new Uint8Array(0),
        Uint8Array.from({ length: 256 }, (_, i) => i),
        Uint8Array.from({ length: 2_097_152 }, (_, i) => (i * 31) % 251),
      ];
      for (const [i, body] of bodies.entries()) {
        assert.equal(await store.create(`body/${i}`, body), "created");
        assert.ok(Buffer.from(body).equals((await store.read(`body/${i}`))?.body ?? bytes("nothing")), `body ${i}`);
      }
    },
  },
  {
    rule: "store-read",
    title: "another client sees a write as soon as it was answered",
    async run(store, open) {
      const other = await open();
      for (let i = 0; i < 10; i += 1) {
        await store.create(`log/${i}`, bytes(`${i}`));
        assert.equal(await textOf(other, `log/${i}`), `${i}`);
      }
    },
  },
  {
    rule: "store-read",
    title: "the caller's buffer is not the store's: changing it afterwards changes nothing",
    async run(store) {
      const body = bytes("abc");
      await store.create("a", body);
      body[0] = 0;
      const read = await store.read("a");
      assert.ok(read !== undefined);
      assert.equal(new TextDecoder().decode(read.body), "abc");
      read.body[0] = 0;
      assert.equal(await textOf(store, "a"), "abc");
    },
  },
  {
    rule: "store-create",
    title: "a second create is told exists and changes nothing",
    async run(store) {
      assert.equal(await store.create("a", bytes("first")), "created");
      assert.equal(await store.create("a", bytes("second")), "exists");
      assert.equal(await textOf(store, "a"), "first");
    },
  },
  {
    rule: "store-create",
    title: "of creates that race on several clients one is created, and it is the one that is read",
    async run(store, open) {
      const clients = [store, await open(), await open()];
      for (let round = 0; round < 10; round += 1) {
        const answers = await Promise.all(
          Array.from({ length: 12 }, async (_, i) => {
            const client = clients[i % clients.length] ?? store;
            return { i, answer: await client.create(`race/${round}`, bytes(`${i}`)) };
          }),
        );
        const created = answers.filter(({ answer }) => answer === "created");
        assert.equal(created.length, 1, `${created.length} of 12 were told "created"`);
        assert.equal(await textOf(store, `race/${round}`), `${created[0]?.i}`);
      }
    },
  },
  {
    rule: "store-create",
    title: "a reader never sees a part of a body that is being created",
    async run(store, open) {
      const reader = await open();
      const body = new Uint8Array(1_048_576).fill(7);
      for (let round = 0; round < 5; round += 1) {
        let done = false;
        const writing = awaitedLater(store.create(`torn/${round}`, body).finally(() => (done = true)));
        do {
          const seen = await reader.read(`torn/${round}`);
          if (seen !== undefined) assert.equal(seen.body.byteLength, body.byteLength, "a torn object was read");
        } while (!done);
        await writing;
      }
    },
  },
  {
    rule: "store-replace",
    title: "over the revision that was read, and then not again",
    async run(store) {
      await store.create("a", bytes("1"));
      const first = await revisionOf(store, "a");
      assert.equal(await store.replace("a", bytes("2"), first), "replaced");
      assert.equal(await store.replace("a", bytes("3"), first), "conflict");
      assert.equal(await textOf(store, "a"), "2");
      assert.equal(await store.replace("a", bytes("4"), await revisionOf(store, "a")), "replaced");
      assert.equal(await textOf(store, "a"), "4");
    },
  },
  {
    rule: "store-replace",
    title: "of what is not there, or was deleted, it is a conflict and makes nothing",
    async run(store) {
      await store.create("a", bytes("1"));
      const revision = await revisionOf(store, "a");
      await store.delete(["a"]);
      assert.equal(await store.replace("a", bytes("2"), revision), "conflict");
      assert.equal(await store.replace("never", bytes("2"), revision), "conflict");
      assert.deepEqual(await store.list(""), []);
    },
  },
  {
    rule: "store-replace",
    title: "of replaces that race on several clients one is replaced, each round",
    async run(store, open) {
      const clients = [store, await open(), await open()];
      await store.create("counter", bytes("0"));
      for (let round = 0; round < 10; round += 1) {
        const revision = await revisionOf(store, "counter");
        const answers = await Promise.all(
          Array.from({ length: 9 }, (_, i) =>
            (clients[i % clients.length] ?? store).replace("counter", bytes(`${round}-${i}`), revision),
          ),
        );
        assert.equal(answers.filter((answer) => answer === "replaced").length, 1);
        assert.equal(await textOf(store, "counter"), `${round}-${answers.indexOf("replaced")}`);
      }
    },
  },
  {
    rule: "store-replace",
    title: "a replace by another body of the same length and content class still changes the revision",
    async run(store) {
      await store.create("a", bytes("x"));
      const first = await revisionOf(store, "a");
      assert.equal(await store.replace("a", bytes("y"), first), "replaced");
      assert.notEqual(await revisionOf(store, "a"), first);
    },
  },
  {
    rule: "store-list",
    title: "keys with the prefix, in byte order",
    async run(store) {
      for (const key of ["log/00010", "log/00002", "log/1", "logs/1", "checkpoint/1", "log/00001", "lo"])
        await store.create(key, bytes(key));
      assert.deepEqual(await store.list("log/"), ["log/00001", "log/00002", "log/00010", "log/1"]);
      assert.deepEqual(await store.list("checkpoint/"), ["checkpoint/1"]);
      assert.deepEqual(await store.list("nothing/"), []);
      assert.equal((await store.list("")).length, 7);
      assert.deepEqual(await store.list("log/0000"), ["log/00001", "log/00002"]);
    },
  },
  {
    rule: "store-list",
    title: "after a key, exclusive, whether it is there or not, and at most the limit",
    async run(store) {
      for (const i of [1, 2, 3, 5]) await store.create(`k/${i}`, bytes(`${i}`));
      assert.deepEqual(await store.list("k/", "k/2"), ["k/3", "k/5"]);
      assert.deepEqual(await store.list("k/", "k/4"), ["k/5"]);
      assert.deepEqual(await store.list("k/", "k/5"), []);
      assert.deepEqual(await store.list("k/", undefined, 2), ["k/1", "k/2"]);
      assert.deepEqual(await store.list("k/", "k/1", 2), ["k/2", "k/3"]);
    },
  },
  {
    rule: "store-list",
    title: "a list sees every create and delete that was answered before it was sent",
    async run(store, open) {
      const other = await open();
      for (let i = 0; i < 10; i += 1) {
        await store.create(`seen/${i}`, bytes(""));
        assert.equal((await other.list("seen/")).length, i + 1);
      }
      await other.delete(["seen/3"]);
      assert.ok(!(await store.list("seen/")).includes("seen/3"));
    },
  },
  {
    rule: "store-list",
    title: "objects that are being written are not listed under names of their own",
    async run(store, open) {
      const other = await open();
      const writing = awaitedLater(
        Promise.all(Array.from({ length: 8 }, (_, i) => store.create(`w/${i}`, new Uint8Array(300_000)))),
      );
      for (const key of await other.list("w/")) assert.match(key, /^w\/\d$/);
      await writing;
      assert.equal((await other.list("w/")).length, 8);
      assert.equal((await other.list("")).length, 8);
    },
  },
  {
    rule: "store-delete",
    title: "deleted objects are gone, the others stay, deleting again or nothing is nothing",
    async run(store) {
      for (const key of ["a", "b", "c/d"]) await store.create(key, bytes(key));
      await store.delete(["a", "c/d", "never"]);
      await store.delete(["a"]);
      await store.delete([]);
      assert.deepEqual(await store.list(""), ["b"]);
      assert.equal(await store.read("a"), undefined);
    },
  },
  {
    rule: "store-delete",
    title: "a deleted key can be created again, and its old revision stays dead",
    async run(store) {
      await store.create("a", bytes("1"));
      const old = await revisionOf(store, "a");
      await store.delete(["a"]);
      assert.equal(await store.create("a", bytes("2")), "created");
      assert.equal(await store.replace("a", bytes("3"), old), "conflict");
      assert.equal(await textOf(store, "a"), "2");
    },
  },
  {
    rule: "store-delete",
    title: "1,200 keys in one call",
    async run(store) {
      const keys = Array.from({ length: 1_200 }, (_, i) => `many/${String(i).padStart(5, "0")}`);
      for (let i = 0; i < keys.length; i += 50)
        await Promise.all(keys.slice(i, i + 50).map((key) => store.create(key, bytes(""))));
      let found = 0;
      for (let after: string | undefined; ;) {
        const page: readonly string[] = await store.list("many/", after, 500);
        if (page.length === 0) break;
        found += page.length;
        after = page.at(-1);
      }
      assert.equal(found, 1_200);
      await store.delete(keys);
      assert.deepEqual(await store.list("many/"), []);
    },
  },
  {
    rule: "store-stamps",
    title: "where answers have dates, these do not run backward, and a write was modified between the dates around it",
    async run({ store }) {
      // HTTP dates have whole seconds, cut off.
      const second = 1_000;
      let latest = Number.NEGATIVE_INFINITY;
      const hear = (date: number | undefined): number | undefined => {
        if (date !== undefined) {
          assert.ok(date + second >= latest, `a date of ${date} came after ${latest}`);
          latest = Math.max(latest, date);
        }
        return date;
      };
      const before = hear((await store.list("stamp/")).date);
      const made = await store.create("stamp/1", bytes("1"));
      hear(made.date);
      const read = await store.read("stamp/1");
      hear(read.date);
      const listed = await store.list("stamp/");
      const after = hear(listed.date);
      hear((await store.read("stamp/never")).date);
      const stamps = [read.object?.lastModified, listed.objects[0]?.lastModified];
      for (const stamp of stamps) {
        if (stamp === undefined || before === undefined || after === undefined) continue;
        assert.ok(stamp + second >= before, `modified at ${stamp}, before ${before}`);
        assert.ok(stamp - second <= after, `modified at ${stamp}, after ${after}`);
      }
      if (after !== undefined) assert.ok(stamps[1] !== undefined, "a list with a date has no lastModified");
    },
  },
  {
    rule: "store-close",
    title: "close can be called again, and other clients go on",
    async run(store, open) {
      const other = await open();
      await store.create("a", bytes("1"));
      await store.close();
      await store.close();
      await assert.rejects(store.read("a"), (error: { code?: unknown }) => error.code === "OMNIQ_CLOSED");
      assert.equal(await textOf(other, "a"), "1");
    },
  },
];
