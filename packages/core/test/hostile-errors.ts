// Things that a handler can throw and that code which describes errors does not expect.

/** A class of a user's own, with plain fields. */
export class PaymentError extends Error {
  readonly status: number = 402;
  readonly details: object = { account: "a1", tries: [1, 2] };
}

function hostile(make: (error: Error) => void): () => unknown {
  return () => {
    const error = new Error("plain");
    make(error);
    return error;
  };
}

const property = (error: object, key: string, descriptor: PropertyDescriptor): void => {
  Object.defineProperty(error, key, { configurable: true, ...descriptor });
};

const throwing: PropertyDescriptor = {
  get() {
    throw new Error("a getter threw");
  },
  enumerable: true,
};

/** Makers, since some can only be looked at once. */
export const hostileErrors: readonly (readonly [name: string, make: () => unknown])[] = [
  ["a Symbol as message", hostile((error) => property(error, "message", { value: Symbol("secret") }))],
  [
    "an object without prototype as message",
    hostile((error) => property(error, "message", { value: Object.create(null) })),
  ],
  [
    "a message whose toString throws",
    hostile((error) => property(error, "message", { value: { toString: null, valueOf: null } })),
  ],
  ["an object without prototype", () => Object.assign(Object.create(null) as object, { message: "bare" })],
  [
    "a revoked proxy",
    () => {
      const { proxy, revoke } = Proxy.revocable(new Error("gone"), {});
      revoke();
      return proxy;
    },
  ],
  [
    "a proxy whose traps all throw",
    () =>
      new Proxy(
        new Error("trapped"),
        new Proxy(
          {},
          {
            get() {
              throw new Error("a trap threw");
            },
          },
        ),
      ),
  ],
  ...(["message", "name", "stack", "cause", "code", "extra", "toString", "constructor", "toJSON"] as const).map(
    (key) => [`a getter of ${key} that throws`, hostile((error) => property(error, key, throwing))] as const,
  ),
  ["itself as cause", hostile((error) => property(error, "cause", { value: error }))],
  [
    "a circle of causes",
    () => {
      const first = new Error("first");
      const second = new Error("second", { cause: first });
      property(first, "cause", { value: second });
      return first;
    },
  ],
  [
    "ten thousand causes",
    () => {
      let error = new Error("innermost");
      for (let depth = 0; depth < 10_000; depth++) error = new Error(`level ${depth}`, { cause: error });
      return error;
    },
  ],
  ["a name that is no string", hostile((error) => property(error, "name", { value: 5n }))],
  [
    "a revoked proxy as cause",
    hostile((error) => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      property(error, "cause", { value: proxy });
    }),
  ],
  ["a field that is itself", hostile((error) => Object.assign(error, { self: error }))],
  ["functions and symbols as fields", hostile((error) => Object.assign(error, { run: () => 1, mark: Symbol("x") }))],
  ["a message of 5 MB", () => new Error("x".repeat(5_000_000))],
  ["a stack of 5 MB", hostile((error) => property(error, "stack", { value: "y".repeat(5_000_000) }))],
  ["a field of 5 MB", hostile((error) => Object.assign(error, { body: "z".repeat(5_000_000) }))],
  [
    "many aggregated errors",
    () =>
      new AggregateError(
        Array.from({ length: 1_000 }, () => new Error("one")),
        "many",
      ),
  ],
  ["a Symbol", () => Symbol("thrown")],
  ["undefined", () => undefined],
  ["null", () => null],
  ["a bigint", () => 10n],
  ["a function", () => () => 1],
  ["an empty text", () => ""],
  ["a lone surrogate", () => new Error("\ud800 and \0")],
  [
    "keys of prototypes",
    () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"message":"m"}'),
  ],
];

/** Seeded mutations of each kind of text that a test makes: a part in the gate; `OMNIQ_TEST_MUTATIONS=10000` for a whole run. */
export const mutationCount: number = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 1_000);
