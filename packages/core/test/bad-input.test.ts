// Bad input of every kind through the public API: a clear error with a code, no payload in it, and nothing that was accepted is lost.
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { sqlite } from "@omniq/sqlite";
import { memory } from "@omniq/memory";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { OmniQ, defineTask, isOmniQError, typeOnly, type OmniQErrorCode } from "../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "omniq-bad-input-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const secret = "hunter2";

/** Rejects (or throws) with the code and with a message that has these words and not the secret. */
async function refuses(code: OmniQErrorCode, words: RegExp, call: () => unknown): Promise<void> {
  const error: unknown = await (async () => await call())().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(isOmniQError(error, code), String(error)).toBe(true);
  expect((error as Error).message).toMatch(words);
  expect((error as Error).message).not.toContain(secret);
}

const echo = defineTask({ name: "echo", input: typeOnly<unknown>(), run: (input) => input });
const strict = defineTask({ name: "strict", input: z.object({ n: z.number() }), run: ({ n }) => n });

/** Runs `bad` between two good tasks on one file; both are done in the end, and nothing else is there. */
async function between(name: string, bad: (omniq: OmniQ) => Promise<void>): Promise<void> {
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath: join(folder, `${name}.db`) }), logger: silent });
  try {
    const before = await omniq.enqueue(echo, "before");
    await bad(omniq);
    const after = await omniq.enqueue(echo, "after");
    const summary = await omniq.worker({ tasks: [echo, strict] }).drain();
    expect(summary.completed).toBe(2);
    expect([await before.result(), await after.result()]).toEqual(["before", "after"]);
  } finally {
    await omniq.close();
  }
}

describe("configuration", () => {
  const load = (config: object) => () => OmniQ.load({ config, environment: false });
  test("an option that is missing, misspelt or of another type names its path", async () => {
    await refuses(
      "OMNIQ_CONFIG_INVALID",
      /taskQueue\.databasePaht|database_path|databasePath/,
      load({ taskQueue: { type: "sqlite", databasePaht: secret } }),
    );
    await refuses("OMNIQ_CONFIG_INVALID", /taskQueue/, load({ taskQueue: { type: "sqlite", databasePath: 5 } }));
    await refuses("OMNIQ_CONFIG_INVALID", /taskQueue/, load({ taskQueue: 5 }));
    await refuses("OMNIQ_CONFIG_INVALID", /task_queu/, load({ task_queu: { type: "memory" } }));
    await refuses("OMNIQ_CONFIG_INVALID", /databasePath/, () => sqlite({}));
  });
  test("a package that is missing names the command that installs it", () =>
    refuses("OMNIQ_ADAPTER_NOT_FOUND", /npm install omniq-nowhere/, load({ taskQueue: { type: "omniq-nowhere" } })));
  test("a file that is not there, or no YAML, names itself", async () => {
    await refuses("OMNIQ_CONFIG_INVALID", /nowhere\.yaml/, () => OmniQ.load({ file: join(folder, "nowhere.yaml") }));
    const broken = join(folder, "broken.yaml");
    writeFileSync(broken, `task_queue: [${secret}\n`);
    await refuses("OMNIQ_CONFIG_INVALID", /broken\.yaml/, () => OmniQ.load({ file: broken, environment: false }));
  });
});

describe("tasks", () => {
  test("an input against its schema is refused where it is enqueued", () =>
    between("schema", (omniq) =>
      refuses("OMNIQ_INVALID_INPUT", /n: expected number, got a string/, () =>
        omniq.enqueue(strict, { n: secret as never }),
      ),
    ));

  test("an unknown task name is a dead letter that says so, and the other tasks go on", async () => {
    const unknown = defineTask({ name: "nobody-has-it", retry: { maxAttempts: 1 } });
    await between("unknown", async (omniq) => {
      const queue = "odd";
      const handle = await omniq.enqueue(unknown, undefined, { queue });
      const known = await omniq.enqueue(strict, { n: 1 }, { queue });
      await omniq.worker({ tasks: [strict], queues: [queue], unknownTasks: "fail" }).drain();
      await refuses("OMNIQ_UNKNOWN_TASK", /nobody-has-it/, () => handle.result({ timeoutMs: 5_000 }));
      expect(await known.result()).toBe(1);
    });
  });

  const circular: { self?: unknown } = {};
  circular.self = circular;
  const unserializable: Readonly<Record<string, unknown>> = {
    "a function": { secret, call: () => secret },
    "a symbol": { at: Symbol(secret) },
    "an object that holds itself": circular,
    "a promise": { secret, later: Promise.resolve(1) },
  };
  test.each(Object.entries(unserializable))("%s cannot be serialised", (name, input) =>
    between(`serialise ${name}`, (omniq) =>
      refuses("OMNIQ_SERIALIZATION_FAILED", /cannot be stored: value/, () => omniq.enqueue(echo, input)),
    ),
  );
  test("an output that cannot be serialised is a failed attempt, and in the end a dead letter", async () => {
    const leaks = defineTask({ name: "leaks", retry: { maxAttempts: 1 }, run: () => ({ secret, call: () => secret }) });
    await between("output", async (omniq) => {
      const handle = await omniq.enqueue(leaks, undefined, { queue: "odd" });
      await omniq.worker({ tasks: [leaks], queues: ["odd"] }).drain();
      await refuses("OMNIQ_SERIALIZATION_FAILED", /leaks.*cannot be serialized/, () =>
        handle.result({ timeoutMs: 5_000 }),
      );
    });
  });

  test("a payload over the backend's limit is refused with both numbers", () =>
    between("oversized", async (omniq) => {
      const taskQueue = memory().taskQueue();
      const small = new Proxy(taskQueue, {
        get: (own, key) => {
          const value: unknown =
            key === "capabilities" ? { ...own.capabilities, maxPayloadBytes: 524_288 } : Reflect.get(own, key, own);
          return typeof value === "function" ? value.bind(own) : value;
        },
      });
      await using limited = new OmniQ({
        taskQueue: small,
        resultStorage: false,
        scheduleStorage: false,
        logger: silent,
      });
      await refuses("OMNIQ_INVALID_INPUT", /524290 bytes.*at most 524288/, () =>
        limited.enqueue(echo, "x".repeat(524_288)),
      );
      await limited.enqueue(echo, "x".repeat(524_286));
      expect((await taskQueue.counts(["default"]))["default"]?.ready).toBe(1);
      await omniq.connect();
    }));

  const names: Readonly<Record<string, string>> = {
    "an empty string": "",
    "256 bytes": "x".repeat(256),
    "256 bytes of UTF-8 in 128 characters": "é".repeat(128),
    NUL: `a\0${secret}`,
    "a lone surrogate": `${secret}\ud800`,
  };
  test.each(Object.entries(names))("%s is no id, queue, key or name", (_name, text) =>
    between(`name ${_name}`, async (omniq) => {
      for (const options of [{ id: text }, { queue: text }, { deduplicate: { key: text } }, { group: { key: text } }])
        await refuses("OMNIQ_INVALID_OPTION", /bytes|empty|NUL|surrogate/, () => omniq.enqueue(echo, 1, options));
      await refuses("OMNIQ_INVALID_OPTION", /bytes|empty|NUL|surrogate/, () => defineTask({ name: text }));
    }),
  );
  test("hostile strings that are well formed come back as they were, and are never interpreted", async () => {
    const hostile = [
      "'; DROP TABLE omniq_tasks; --",
      "../../etc/passwd",
      "%s${1+1}{{x}}",
      "__proto__",
      "\u202e\u0000\ud800",
    ];
    const omniq = new OmniQ({ taskQueue: sqlite({ databasePath: join(folder, "hostile.db") }), logger: silent });
    const handles = [];
    for (const [index, text] of hostile.entries())
      handles.push(
        await omniq.enqueue(echo, { [text]: text }, { queue: index < 4 ? text : "q", id: index < 4 ? text : "id" }),
      );
    await omniq.worker({ tasks: [echo], queues: [...hostile.slice(0, 4), "q"] }).drain();
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(
      hostile.map((text) => ({ [text]: text })),
    );
    await omniq.close();
  });
});

describe("database files", () => {
  test("a file that is no database, and a folder in its place, are named and stay as they are", async () => {
    const text = `${secret}, and no database at all. `.repeat(100);
    const file = join(folder, "notes.txt");
    writeFileSync(file, text);
    const place = join(folder, "a-folder");
    mkdirSync(place);
    for (const [path, words] of [
      [file, /notes\.txt.*not an SQLite database/],
      [place, /a-folder.*can't be opened/],
    ] as const) {
      await using omniq = new OmniQ({ taskQueue: sqlite({ databasePath: path }), logger: silent });
      await refuses("OMNIQ_BACKEND_FAILED", words, () => omniq.connect());
      await refuses("OMNIQ_BACKEND_FAILED", words, () => omniq.enqueue(echo, secret));
    }
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  test("a folder that cannot be written to is named, and what was accepted before is still there", async () => {
    const place = join(folder, "read-only");
    mkdirSync(place);
    const databasePath = join(place, "queue.db");
    const first = new OmniQ({ taskQueue: sqlite({ databasePath }), logger: silent });
    const kept = await first.enqueue(echo, "kept");
    await first.close();
    // An unprivileged user, since the superuser may write anywhere.
    for (const path of [databasePath, place]) chmodSync(path, path === place ? 0o555 : 0o444);
    chmodSync(folder, 0o755);
    try {
      const program = fileURLToPath(new URL("./bad-input-read-only.mjs", import.meta.url));
      const { stdout } = await promisify(execFile)(process.execPath, [program, databasePath, join(place, "new.db")]);
      const answers = JSON.parse(stdout) as readonly { readonly code?: string; readonly message?: string }[];
      for (const { code, message } of answers) {
        expect(code).toBe("OMNIQ_BACKEND_FAILED");
        expect(message).toMatch(/read-only.*(can't be written to|can't be opened)/);
        expect(message).not.toContain(secret);
      }
      expect(answers).toHaveLength(2);
    } finally {
      chmodSync(place, 0o755);
      chmodSync(databasePath, 0o644);
    }
    const again = new OmniQ({ taskQueue: sqlite({ databasePath }), logger: silent });
    await again.worker({ tasks: [echo] }).drain();
    expect(await again.handle(echo, kept.id).result({ timeoutMs: 5_000 })).toBe("kept");
    await again.close();
  });
});
