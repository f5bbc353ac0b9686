// The program runner: a child process that makes a backend from the adapter module and runs one program on it.
import { createInterface } from "node:readline";
import type { AnyAdapter } from "@omniq/core";
import type { AnyBackend } from "../suite.ts";
import type { Said, Start } from "./create-processes.ts";
import type { Program } from "./program.ts";
import { consume } from "./programs/consume.ts";
import { crash } from "./programs/crash.ts";
import { produce } from "./programs/produce.ts";
import { storages } from "./programs/storages.ts";

const programs: Readonly<Record<string, Program>> = { consume, crash, produce, storages };

function say(said: Said): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${JSON.stringify(said)}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin });
  const first = await input[Symbol.asyncIterator]().next();
  if (first.done === true) return;
  const start = JSON.parse(first.value) as Start;
  const program = programs[start.program];
  if (program === undefined) throw new Error(`no program is called ${start.program}`);
  const { adapter } = (await import(start.module)) as { adapter?: AnyAdapter };
  if (adapter === undefined) throw new Error("the adapter's module exports no `adapter`");
  const backend = adapter(start.options) as AnyBackend;
  const answer = await program({ backend, data: start.data, say: (line) => say({ line }) });
  await backend.close();
  await say({ answer: answer ?? null });
}

main().then(
  () => process.exit(0),
  async (error: unknown) => {
    await say({ failure: error instanceof Error ? `${error.stack ?? error.message}` : String(error) });
    process.exit(1);
  },
);
