// The default serializer: what it carries, what it refuses, and that hostile data stays data.
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { OmniQError, isOmniQError } from "../src/errors.ts";
import { jsonSerializer } from "../src/serializer.ts";

const { serialize, deserialize } = jsonSerializer;
const trip = (value: unknown): unknown => deserialize(serialize(value));
const refusal = (value: unknown): string => {
  try {
    serialize(value);
  } catch (error) {
    if (isOmniQError(error, "OMNIQ_SERIALIZATION_FAILED")) return error.message;
    throw error;
  }
  throw new Error("was not refused");
};

describe("values", () => {
  test("plain JSON stays plain JSON", () => {
    const value = { a: [1, "x", null, true], b: { c: -1.5 } };
    expect(serialize(value)).toBe(JSON.stringify(value));
  });
  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["an undefined property", { a: undefined, b: 1 }],
    ["NaN", Number.NaN],
    ["Infinity", [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
    ["bigint", -(2n ** 80n)],
    ["Date", new Date(1_234_567_890_123)],
    ["far dates", [new Date(-8.64e15), new Date(8.64e15)]],
    [
      "Map with odd keys",
      new Map<unknown, unknown>([
        [{ a: 1n }, new Set([undefined])],
        ["__proto__", new Date(0)],
      ]),
    ],
    ["Set", new Set([1, "1", new Map([[1, 2]])])],
    ["bytes", new Uint8Array([0, 255, 7])],
    ["lone surrogates and NUL", { "\ud800": "\udfff\0" }],
    ["nested", { a: [{ b: new Map([["c", [1n, { d: new Date(5) }]]]) }] }],
  ])("%s", (_name, value) => {
    expect(trip(value)).toEqual(value);
    expect(Object.keys(Object(trip(value)))).toEqual(Object.keys(Object(value)));
  });
  test("negative zero", () => expect(Object.is(trip(-0), -0)).toBe(true));
  test("an invalid date", () => expect((trip(new Date(Number.NaN)) as Date).getTime()).toBeNaN());
  test("a part of a larger buffer", () => {
    const part = trip(Buffer.from("hello world").subarray(6)) as Uint8Array;
    expect(Buffer.from(part).toString()).toBe("world");
    expect(part.constructor).toBe(Uint8Array);
  });
  test("the same object in two places", () => {
    const shared = { a: 1 };
    expect(trip([shared, shared])).toEqual([shared, shared]);
  });
  test("objects without a prototype and of another realm", () => {
    expect(trip(Object.assign(Object.create(null) as object, { a: 1 }))).toEqual({ a: 1 });
    expect(trip(runInNewContext("({ a: [1] })"))).toEqual({ a: [1] });
  });
});

describe("hostile data", () => {
  test("an own __proto__ key is data", () => {
    const value = JSON.parse('{"__proto__":{"polluted":{"__proto__":1}},"b":[{"__proto__":2}]}') as object;
    const back = trip(value) as Record<string, unknown>;
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(Object.getOwnPropertyNames(back)).toEqual(["__proto__", "b"]);
    expect(JSON.stringify(back)).toBe(JSON.stringify(value));
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
  test.each<[string, unknown]>([
    ["bigint", { $omniq: "bigint", value: "1" }],
    ["object", { $omniq: "object", value: { $omniq: "undefined" } }],
    ["unknown", [{ $omniq: { $omniq: 1 }, other: new Date(1) }]],
    ["undefined", { $omniq: undefined }],
  ])("a key that looks like the mark: %s", (_name, value) => expect(trip(value)).toEqual(value));
  test.each([
    "{",
    '{"$omniq":"eval","value":"1"}',
    '{"$omniq":"bigint","value":"0x1; throw 1"}',
    '{"$omniq":"map","value":[1]}',
    '{"$omniq":"number","value":"toString"}',
  ])("text that was not written here: %s", (text) =>
    expect(() => deserialize(text)).toThrow(expect.objectContaining({ code: "OMNIQ_SERIALIZATION_FAILED" })),
  );
  test("an error cannot choose what is made", () => {
    const back = deserialize('{"$omniq":"error","value":{"name":"Function","message":"x"}}') as Error;
    expect(back).toBeInstanceOf(Error);
    expect(typeof back).toBe("object");
    expect(back.name).toBe("Function");
  });
  test("text nested too deep is refused", () => {
    expect(() => deserialize(`${"[".repeat(5_000)}${"]".repeat(5_000)}`)).toThrow(
      expect.objectContaining({ code: "OMNIQ_SERIALIZATION_FAILED" }),
    );
  });
});

describe("errors", () => {
  test("name, message, stack, code and cause", () => {
    const error = Object.assign(new TypeError("bad", { cause: { at: new Date(3) } }), { code: "E_BAD" });
    const back = trip(error) as TypeError & { code: string };
    expect(back).toBeInstanceOf(TypeError);
    expect(back).toMatchObject({
      name: "TypeError",
      message: "bad",
      code: "E_BAD",
      stack: error.stack,
      cause: { at: new Date(3) },
    });
  });
  test("an OmniQError is one again", () => {
    const back = trip(
      new OmniQError("OMNIQ_TASK_RETRY", "later", { delayMs: 5, taskId: "t", cause: new RangeError("r") }),
    );
    expect(isOmniQError(back, "OMNIQ_TASK_RETRY")).toBe(true);
    expect(back).toMatchObject({ delayMs: 5, taskId: "t", retryable: false, message: "later" });
    expect((back as Error).cause).toBeInstanceOf(RangeError);
  });
  test("own fields of an error come back as data, and replace nothing that errors have", () => {
    class HttpError extends Error {
      override readonly name = "HttpError";
      readonly status = 503;
      readonly details = { path: ["a", 1], at: new Date(3) };
      readonly socket = (): void => undefined;
    }
    const back = trip(new HttpError("away")) as HttpError;
    expect([back.name, back.message, back.status, back.details, back.socket]).toEqual([
      "HttpError",
      "away",
      503,
      { path: ["a", 1], at: new Date(3) },
      undefined,
    ]);
    const forged = deserialize(
      '{"$omniq":"error","value":{"name":"E","message":"m","fields":{"toString":1,"stack":2,"message":3,"__proto__":{"x":1},"ok":4}}}',
    ) as Error & { ok: number; x?: number };
    expect([String(forged), typeof forged.stack, forged.ok, forged.x]).toEqual(["E: m", "string", 4, undefined]);
  });
  test("a cause that cannot be written is left out", () => {
    const cause: Record<string, unknown> = {};
    cause["self"] = cause;
    const back = trip(new Error("x", { cause })) as Error;
    expect(back.message).toBe("x");
    expect(back.cause).toBeUndefined();
  });
  test("aggregates", () => {
    const back = trip(new AggregateError([new Error("a"), 1], "both")) as AggregateError;
    expect(back.errors).toHaveLength(2);
    expect((back.errors[0] as Error).message).toBe("a");
  });
});

describe("refused, with the path and not the value", () => {
  class Account {
    readonly secret: string = "hunter2";
  }
  const cycle: Record<string, unknown> = { secret: "hunter2" };
  cycle["list"] = [cycle];
  test.each<[string, unknown, string]>([
    ["function", { a: [() => "hunter2"] }, "value.a[0] is a function"],
    ["symbol", { "odd key": Symbol("hunter2") }, 'value["odd key"] is a symbol'],
    ["class instance", { a: new Map([["k", new Account()]]) }, "value.a.values[0] is an instance of a class"],
    ["boxed", [Object("hunter2")], "value[0] is an instance of a class"],
    ["promise", Promise.resolve("hunter2"), "value is an instance of a class"],
    ["regular expression", /hunter2/, "value is an instance of a class"],
    ["symbol key", { [Symbol("hunter2")]: 1 }, "value is an object with a symbol as a key"],
    ["cycle", cycle, "value.list[0] is part of a cycle"],
  ])("%s", (_name, value, expected) => {
    expect(refusal(value)).toContain(expected);
    expect(refusal(value)).not.toContain("hunter2");
  });
  test("too deep", () => {
    let value: unknown = 1;
    for (let depth = 0; depth < 10_000; depth++) value = [value];
    expect(refusal(value)).toContain("500 levels");
  });
  test("a getter that throws", () => {
    expect(
      refusal({
        get a(): never {
          throw new Error("hunter2");
        },
      }),
    ).not.toContain("hunter2");
  });
});
