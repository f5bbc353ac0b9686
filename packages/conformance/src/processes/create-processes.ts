// Real processes for the cases: each forks the program runner, which imports the adapter and speaks JSON lines.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Processes } from "../suite.ts";

/** What the runner is told on its first line. */
export interface Start {
  readonly program: string;
  readonly module: string;
  readonly options: unknown;
  readonly data: unknown;
}

/** What a runner says, one JSON text a line: a line of the program's own, its answer, or why it failed. */
export type Said = { readonly line: unknown } | { readonly answer: unknown } | { readonly failure: string };

/** Node runs no TypeScript without help, so what lies in `src` is loaded from its twin in `dist`: build first. */
export function builtTwin(url: URL): URL {
  if (!url.pathname.endsWith(".ts")) return url;
  const at = url.href.lastIndexOf("/src/");
  return at < 0 ? url : new URL(`${url.href.slice(0, at)}/dist/${url.href.slice(at + 5).replace(/\.ts$/, ".js")}`);
}

/**
 * Processes on one namespace. `module` exports `adapter`, which is called with `options(namespace)`; the options must survive JSON.
 * A program that throws makes `done` and `run` reject with its message; one that was killed makes `done` resolve with `undefined`.
 */
export function createProcesses(module: URL, options: (namespace: string) => unknown, namespace: string): Processes {
  const runner = fileURLToPath(
    builtTwin(new URL(import.meta.url.endsWith(".ts") ? "./runner.ts" : "./runner.js", import.meta.url)),
  );
  const start: Processes["start"] = async (program, data) => {
    const child = fork(runner, [], { execArgv: [], stdio: ["pipe", "pipe", "pipe", "ipc"] });
    assert.ok(child.stdin !== null && child.stdout !== null && child.stderr !== null);
    let noise = "";
    child.stderr.on("data", (chunk: Buffer) => (noise = (noise + chunk.toString()).slice(-4_000)));
    const told: Start = { program, module: builtTwin(module).href, options: await options(namespace), data };
    // A child that dies at once closes its end; that is told by `done`.
    child.stdin.on("error", () => undefined);
    child.stdin.write(`${JSON.stringify(told)}\n`);

    const lines = new LineQueue();
    let killed = false;
    const done = (async (): Promise<unknown> => {
      let answer: unknown;
      let answered = false;
      let failure: string | undefined;
      const exit = once(child, "close");
      for await (const text of createInterface({ input: child.stdout! })) {
        const said = parse(text);
        if (said === undefined) noise += `${text}\n`;
        else if ("line" in said) lines.push(said.line);
        else if ("failure" in said) failure = said.failure;
        else {
          answer = said.answer;
          answered = true;
        }
      }
      const [code, signal] = (await exit) as [number | null, string | null];
      lines.end();
      if (failure !== undefined) throw new Error(`program ${program} failed: ${failure}`);
      // A program may also kill itself, at the step that it was told to.
      if (!answered && !killed && signal !== "SIGKILL")
        throw new Error(`program ${program} ended with ${signal ?? code} and no answer: ${noise}`);
      return answer;
    })();
    done.catch(() => undefined);
    return {
      lines,
      done,
      kill() {
        killed = true;
        child.kill("SIGKILL");
      },
    };
  };
  return {
    start,
    async run(program, data) {
      return (await start(program, data)).done;
    },
  };
}

function parse(text: string): Said | undefined {
  try {
    const said = JSON.parse(text) as unknown;
    return typeof said === "object" && said !== null && ("line" in said || "answer" in said || "failure" in said)
      ? (said as Said)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Lines that come whether they are read or not. */
class LineQueue implements AsyncIterable<unknown> {
  readonly #lines: unknown[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(line: unknown): void {
    this.#lines.push(line);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<unknown> {
    for (;;) {
      if (this.#lines.length > 0) yield this.#lines.shift();
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
