// Code that builds, describes, stores or logs an error never throws, whatever was thrown; what an error says survives within limits.
import { describe, expect, test, vi } from "vitest";
import { mutateText, seededRandom } from "../../conformance/src/damage/mutate.ts";
import { OmniQError, failTask, isOmniQError, reasonOf, retryTask } from "../src/errors.ts";
import { eventErrorOf } from "../src/events.ts";
import { consoleLogger, safeLogger } from "../src/logger.ts";
import { jsonSerializer, serializeWith } from "../src/serializer.ts";
import { failureOf } from "../src/task-outcome.ts";
import { errorMessage, errorName, plainThrown } from "../src/thrown-text.ts";
import { PaymentError, hostileErrors, mutationCount } from "./hostile-errors.ts";

describe.each(hostileErrors)("%s", (_name, make) => {
  test("is described, made plain, stored, read back and logged", () => {
    expect(typeof errorName(make())).toBe("string");
    expect(errorMessage(make())).not.toBe("");
    expect(errorMessage(make()).length).toBeLessThan(70_000);
    expect(reasonOf(make()).length).toBeLessThan(600);
    expect(isOmniQError(make())).toBe(false);
    const failed = failTask(make() as string, { cause: make() });
    expect(failed.code).toBe("OMNIQ_TASK_FAILED");
    expect(eventErrorOf(failed).message.length).toBeLessThan(9_000);
    const plain = plainThrown(make());
    const text = jsonSerializer.serialize(
      new OmniQError("OMNIQ_TASK_FAILED", "it failed", { cause: plain, taskId: "t" }),
    );
    expect(text.length).toBeLessThan(300_000);
    const read = failureOf(text, "t", jsonSerializer);
    expect(read).toMatchObject({ code: "OMNIQ_TASK_FAILED", taskId: "t" });
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });
  test("as the cause of an error is stored by the serializer alone", () => {
    const text = jsonSerializer.serialize(failTask("it failed", { cause: make() }));
    expect(failureOf(text, "t", jsonSerializer).message).toBe("it failed");
  });
  test("is logged by the default logger", () => {
    const write = vi.spyOn(process.stderr, "write").mockImplementation(() => true);
    try {
      consoleLogger("debug").warn("Something failed", { error: make(), deep: { error: make() }, count: 1n });
      expect(write).toHaveBeenCalledTimes(1);
      expect(String(write.mock.calls[0]?.[0]).length).toBeLessThan(80_000);
    } finally {
      write.mockRestore();
    }
  });
});

test("the class, code and own plain fields of a user's error survive", () => {
  const plain = plainThrown(Object.assign(new PaymentError("declined"), { code: "E402" })) as PaymentError;
  expect(plain).toMatchObject({
    name: "PaymentError",
    message: "declined",
    code: "E402",
    status: 402,
    details: { account: "a1", tries: [1, 2] },
  });
  const text = jsonSerializer.serialize(failTask("failed", { cause: new PaymentError("declined") }));
  const failure = failureOf(text, "t", jsonSerializer);
  expect(failure.cause).toMatchObject({ name: "PaymentError", status: 402, details: { account: "a1", tries: [1, 2] } });
  expect(eventErrorOf(failure)).toEqual({ name: "PaymentError", message: "failed" });
});
test("an error without a message says its class, its code or its cause's message", () => {
  expect(errorMessage(new PaymentError())).toBe("PaymentError");
  expect(errorMessage(Object.assign(new Error(), { code: "ECONNRESET" }))).toBe("Error (ECONNRESET)");
  expect(errorMessage(new Error("", { cause: new Error("inner") }))).toBe("Error: inner");
});
test("delays of retryTask and of errors are checked or held in bounds", () => {
  for (const delayMs of [Number.NaN, Number.POSITIVE_INFINITY, -1, "5", null, Symbol("x"), 1e300])
    expect(() => retryTask({ delayMs: delayMs as number })).toThrow(/delayMs of retryTask/u);
  expect(() => retryTask(undefined as never)).toThrow(/delayMs of retryTask/u);
  expect(retryTask({ delayMs: 1.7 }).delayMs).toBe(1);
  expect(new OmniQError("OMNIQ_TASK_RETRY", "x", { delayMs: Number.NaN }).delayMs).toBeUndefined();
  expect(new OmniQError("OMNIQ_TASK_RETRY", "x", { delayMs: Number.POSITIVE_INFINITY }).delayMs).toBe(
    3_155_760_000_000,
  );
});

describe("loggers of users", () => {
  test("that throw, reject or give odd things harm nobody", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const answers = [
      () => {
        throw new Error("the logger threw");
      },
      () => Promise.reject(new Error("the logger rejected")),
      () => ({
        get then() {
          throw new Error("a getter threw");
        },
      }),
    ];
    for (const answer of answers) {
      const logger = safeLogger({ debug: answer, info: answer, warn: answer, error: answer });
      for (const level of ["debug", "info", "warn", "error"] as const) logger[level]("x", { a: 1 });
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
  test("keep their own `this`", () => {
    class Own {
      readonly lines: string[] = [];
      debug(line: string): void {
        this.lines.push(line);
      }
      info = this.debug;
      warn = this.debug;
      error = this.debug;
    }
    const own = new Own();
    safeLogger(own).debug("said");
    expect(own.lines).toEqual(["said"]);
  });
  test("that are none are refused", () => {
    expect(() => safeLogger({ warn: 1 } as never)).toThrow(/logger\.debug must be a function/u);
    expect(() => safeLogger(null as never)).toThrow(/logger\.debug must be a function/u);
  });
});

test("a serializer of the user's is checked: what throws, gives no string, NUL or lone surrogates", () => {
  const given = (answer: () => unknown): (() => string) => {
    return () => serializeWith({ name: "own", serialize: answer as () => string, deserialize: JSON.parse }, 1);
  };
  for (const answer of [
    () => "a\0b",
    () => "\ud800",
    () => 5,
    () => undefined,
    () => Promise.resolve("x"),
    () => {
      throw Symbol("thrown");
    },
  ])
    expect(given(answer)).toThrow(expect.objectContaining({ code: "OMNIQ_SERIALIZATION_FAILED" }));
  expect(given(() => "fine")()).toBe("fine");
});

test("damaged error texts are read without a throw", () => {
  const random = seededRandom(171);
  const texts = [
    jsonSerializer.serialize(failTask("it failed", { cause: new PaymentError("declined") })),
    jsonSerializer.serialize(new OmniQError("OMNIQ_LEASE_LOST", "lost", { taskId: "t" })),
    JSON.stringify({ code: "OMNIQ_DEPENDENCY_FAILED", message: "of a queue", taskId: "u" }),
    jsonSerializer.serialize(new AggregateError([new Error("a"), 5n, new Map([["k", new Date(5)]])], "many")),
  ];
  for (let index = 0; index < mutationCount; index++) {
    const { does, value } = mutateText(texts[index % texts.length] as string, random);
    const failure = failureOf(value, "t", jsonSerializer);
    expect(isOmniQError(failure) && typeof failure.message === "string", does).toBe(true);
    expect(failure.taskId).toBe("t");
    eventErrorOf(failure);
  }
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});
