// What a failed attempt means, and what is stored of it: pauses that every store takes, and errors that are bounded and can be read.
import { describe, expect, test } from "vitest";
import { OmniQError } from "@omniq/core";
import { jsonSerializer } from "../src/serializer.ts";
import { copyThrown, describeThrown, eventErrorOf } from "../src/worker/error-copy.ts";
import { errorText, failureOf, maxErrorBytes, retryDelayMs, safeErrorText } from "../src/worker/failures.ts";

const task = { id: "id", name: "name" };
const policy = { backoff: "exponential", delayMs: 1_000, factor: 4, maxDelayMs: 3_600_000, jitter: 0.2 } as const;

describe("pauses", () => {
  test.each([
    ["nothing that grows without end", { ...policy, delayMs: 0 }, 513],
    [
      "all that there is",
      { ...policy, delayMs: 3_155_760_000_000, maxDelayMs: 3_155_760_000_000, jitter: 1 },
      1_000_000,
    ],
    ["a linear one", { ...policy, backoff: "linear" as const }, 1_000_000],
    ["numbers of a forged envelope", { ...policy, delayMs: Number.NaN, jitter: -5 }, 2],
    ["negative ones", { ...policy, delayMs: -5 }, 2],
  ])("%s is a whole number that stores take", (_, given, attempt) => {
    for (const random of [0, 0.5, 1]) {
      const delayMs = retryDelayMs(given, attempt, random);
      expect(Number.isSafeInteger(delayMs) && delayMs >= 0 && delayMs <= 3_155_760_000_000).toBe(true);
    }
  });
  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, "5"])(
    "a handler that asks for %s gets the policy's, and is told",
    (delayMs) => {
      const thrown = Object.assign(new OmniQError("OMNIQ_TASK_RETRY", "later", { cause: new Error("why") }), {
        delayMs,
      });
      const failure = failureOf(task, thrown);
      expect([failure.delayMs, failure.permanent]).toEqual([undefined, false]);
      expect(failure.error.message).toContain(`tried again in ${String(delayMs)} ms`);
      expect((failure.error.cause as Error).message).toBe("why");
    },
  );
});

describe("stored errors", () => {
  const text = (thrown: unknown, maxBytes = 1e9): string =>
    errorText(jsonSerializer, failureOf(task, thrown).error, maxBytes);
  test("are bounded, keep their frames, and are cut further where a backend takes less", () => {
    const long = text(new RangeError("m".repeat(30_000_000)));
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(maxErrorBytes);
    const read = (jsonSerializer.deserialize(long) as OmniQError).cause as Error;
    expect([read.name, read.message.startsWith("mmm")]).toEqual(["RangeError", true]);
    expect(read.stack).toContain("worker-failures.test.ts");
    let chain = new Error("innermost");
    for (let n = 0; n < 50; n++) chain = new Error("\u{10ffff}".repeat(10_000), { cause: chain });
    expect(Buffer.byteLength(text(chain))).toBeLessThanOrEqual(maxErrorBytes);
    expect(Buffer.byteLength(text(chain, 5_000))).toBeLessThanOrEqual(5_000);
  });
  test("have the name of the class and own plain fields, and run no getter", () => {
    let ran = 0;
    class HttpError extends Error {
      status = 503;
      request = { path: "/a", retry: [1, 2] };
      socket = new Map();
      get secret(): string {
        ran += 1;
        return "secret";
      }
    }
    const thrown = Object.defineProperty(new HttpError("away"), "own", {
      enumerable: true,
      get: () => {
        ran += 1;
      },
    });
    const read = (jsonSerializer.deserialize(text(thrown)) as OmniQError).cause as HttpError;
    expect([read.name, read.message, read.status, read.request, read.socket, ran]).toEqual([
      "HttpError",
      "away",
      503,
      { path: "/a", retry: [1, 2] },
      undefined,
      0,
    ]);
  });
  test("in safe form are ASCII, and can be read by whatever serializer wrote them", () => {
    const error = new OmniQError("OMNIQ_SERIALIZATION_FAILED", "NUL \u0000, a lone \ud800, far \u{1f600} ä", {
      taskId: "id",
    });
    const plain = { name: "own", serialize: () => "\u0000", deserialize: () => 1 };
    for (const serializer of [jsonSerializer, plain]) {
      const safe = safeErrorText(serializer, error);
      expect(safe).toMatch(/^[\x20-\x7e]+$/);
      expect(JSON.stringify(JSON.parse(safe))).toContain("far \u{1f600} ä");
    }
    const broken = {
      ...plain,
      serialize: () => {
        throw new Error("broken");
      },
    };
    expect(errorText(broken, error, 1_000)).toContain("OMNIQ_SERIALIZATION_FAILED");
  });
});

describe("what is said of an error", () => {
  class Odd extends Error {}
  test.each([
    [new Error(""), "Error", "Error without a message"],
    [new Odd(""), "Odd", "Odd without a message"],
    [
      Object.assign(new AggregateError([]), { code: "ECONNREFUSED" }),
      "AggregateError",
      "AggregateError with the code ECONNREFUSED",
    ],
    ["", "Error", "an empty text was thrown"],
    [undefined, "Error", "undefined"],
    [Object.create(null), "Error", "a value that cannot be read"],
  ])("%#: its name and message", (thrown, name, message) => {
    expect(describeThrown(thrown)).toEqual({ name, message });
  });
  test("events have the user's name and message; what the handler said itself stands", () => {
    expect(eventErrorOf(failureOf(task, new Odd("why")).error)).toEqual({ name: "Odd", message: "why" });
    const said = new OmniQError("OMNIQ_TASK_FAILED", "said", { cause: new Odd("why") });
    expect(eventErrorOf(failureOf(task, said).error)).toEqual({ name: "Odd", message: "said" });
    expect(eventErrorOf(failureOf(task, new OmniQError("OMNIQ_TASK_FAILED", "said")).error).message).toBe("said");
  });
  test("a copy of plain data stays plain data", () => {
    expect(copyThrown({ a: [1, { b: "c" }], f: () => 1, d: new Date(3) })).toEqual({
      a: [1, { b: "c" }],
      d: new Date(3),
    });
  });
});
