// The encryption recipe of SECURITY.md, as it stands there: it keeps what is stored secret, lets keys rotate, and refuses what was changed.
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { join } from "node:path";
import { transform } from "esbuild";
import { expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { OmniQ, defineTask, typeOnly, type Serializer } from "@omniq/core";

type Encrypted = (keys: Readonly<Record<string, Uint8Array>>, current: string) => Serializer;

async function recipe(): Promise<Encrypted> {
  const text = readFileSync(new URL("../../../SECURITY.md", import.meta.url), "utf8");
  const code = /<!-- example: encryption -->\n+```ts\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
  const folder = await mkdtemp(join(fileURLToPath(new URL("..", import.meta.url)), ".recipe-"));
  try {
    const path = join(folder, "recipe.mjs");
    await writeFile(path, (await transform(code, { loader: "ts", format: "esm" })).code);
    return ((await import(pathToFileURL(path).href)) as { encrypted: Encrypted }).encrypted;
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("tasks run, nothing is readable in the store, keys rotate", async () => {
  const encrypted = await recipe();
  const old = new Uint8Array(32).fill(1);
  const next = new Uint8Array(32).fill(2);
  const backend = memory();
  const echo = defineTask({ name: "echo", input: typeOnly<string>(), run: (text) => `${text}!` });
  const before = new OmniQ({ taskQueue: backend, serializer: encrypted({ old }, "old") });
  const after = new OmniQ({ taskQueue: backend, serializer: encrypted({ old, next }, "next") });
  const first = await before.enqueue(echo, "geheim");
  const second = await after.enqueue(echo, "geheim");
  expect((await after.tasks.get(first.id))?.payload).toMatch(/^old\.[A-Za-z0-9+/=]+$/u);
  expect((await after.tasks.get(second.id))?.payload).toMatch(/^next\.[A-Za-z0-9+/=]+$/u);
  await after.worker({ tasks: [echo] }).drain();
  expect(await after.handle(echo, first.id).result()).toBe("geheim!");
  expect(await second.result()).toBe("geheim!");
  // Who lacks the new key cannot read what was written with it, and is told so.
  await expect(before.handle(echo, second.id).result()).rejects.toMatchObject({ code: "OMNIQ_SERIALIZATION_FAILED" });
  await after.close();
});
test("a text that was changed is refused", async () => {
  const encrypted = await recipe();
  const serializer = encrypted({ k: new Uint8Array(32), l: new Uint8Array(32) }, "k");
  const text = serializer.serialize({ amount: 5 });
  expect(serializer.deserialize(text)).toEqual({ amount: 5 });
  expect(text).not.toBe(serializer.serialize({ amount: 5 }));
  const flipped = text.slice(0, 20) + (text[20] === "A" ? "B" : "A") + text.slice(21);
  for (const wrong of [
    flipped,
    text.replace(/^k/u, "l"),
    text.replace(/^k/u, "__proto__"),
    text.slice(0, 30),
    "",
    "k.",
  ])
    expect(() => serializer.deserialize(wrong)).toThrow();
});
