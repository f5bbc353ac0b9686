// Handlers that throw, return and ask for what nobody should; worker-fuzz.test.ts runs them in every kind of worker. `count`s say how many there are.
import { defineTask, OmniQError } from "@omniq/core";

function revoked(target) {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}
const hostile = new Proxy(
  {},
  Object.fromEntries(
    Reflect.ownKeys(Reflect).map((trap) => [
      trap,
      () => {
        throw new Error(`trap ${String(trap)}`);
      },
    ]),
  ),
);
const throwing = (key) =>
  Object.defineProperty(new Error("seen"), key, {
    enumerable: true,
    get() {
      throw new Error(`getter of ${key}`);
    },
  });
const withOwn = (key, value) => Object.defineProperty(new Error("own"), key, { value, enumerable: true });
const cycle = () => {
  const error = new Error("a", { cause: new Error("b") });
  error.cause.cause = error;
  error.self = error;
  return error;
};
const deep = (levels) => {
  let error = new Error("innermost");
  for (let level = 0; level < levels; level++) error = new Error(`level ${level}`, { cause: error });
  return error;
};
class Shop {
  stock = 1;
}
export class PaymentRefused extends Error {
  status = 402;
  details = { reason: "limit" };
  socket = { send() {} };
}

const odd = [
  null,
  undefined,
  0,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  10n ** 400n,
  "",
  "\u0000\ud800 text",
  Symbol("odd"),
  () => 1,
  {},
  [],
  [[undefined, () => 1]],
  Object.create(null),
  new Shop(),
  new Date(Number.NaN),
  new Map([[{}, 1]]),
  new Uint8Array(3),
  new WeakMap(),
  revoked({}),
  revoked([]),
  revoked(() => 1),
  hostile,
  { then: 1 },
  { toString: null, valueOf: null },
  {
    toString() {
      throw new Error("toString");
    },
  },
  {
    toJSON() {
      throw new Error("toJSON");
    },
  },
  { [Symbol.toPrimitive]: () => Symbol("primitive") },
  JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":1}}'),
  "x".repeat(100_000),
];
const keys = [
  "message",
  "name",
  "stack",
  "cause",
  "code",
  "constructor",
  "errors",
  "then",
  "toString",
  "taskId",
  "status",
];

/** Numbers that follow from the seed alone. */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}
/** An error with one to four odd properties. */
function mixed(seed) {
  const next = random(seed);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const makers = [
    () => new Error("mixed"),
    () => new AggregateError([1]),
    () => new OmniQError("OMNIQ_TASK_FAILED", "mixed"),
    () => ({}),
  ];
  const error = pick(makers)();
  for (let left = 1 + Math.floor(next() * 4); left > 0; left--) {
    const [key, value, throws] = [pick(keys), pick(odd), next() < 0.2];
    const get = () => {
      throw value;
    };
    Object.defineProperty(
      error,
      key,
      throws
        ? { get, enumerable: true, configurable: true }
        : { value, enumerable: true, configurable: true, writable: true },
    );
  }
  return next() < 0.2 ? Object.freeze(error) : error;
}

const thrown = [
  ...odd.map((value) => () => value),
  ...["message", "name", "stack", "cause", "code", "toString", "constructor"].map((key) => () => throwing(key)),
  ...["message", "name", "stack", "cause", "code", "errors", "retryable", "taskId"].flatMap((key) =>
    [Symbol("own"), Object.create(null), revoked({}), hostile, () => 1].map((value) => () => withOwn(key, value)),
  ),
  () => new Error(""),
  () => new Error("m".repeat(1_000_000)),
  () => Object.assign(new Error("frames"), { stack: `Error: frames\n${"    at f (x:1:1)\n".repeat(20_000)}` }),
  () => Object.freeze(new TypeError("frozen")),
  () => cycle(),
  () => deep(5_000),
  () => new AggregateError([cycle(), revoked({}), hostile], "many"),
  () => Object.assign(new Error("wide"), Object.fromEntries(Array.from({ length: 2_000 }, (_, n) => [`field${n}`, n]))),
  () => new DOMException("no", "AbortError"),
  () => new OmniQError("OMNIQ_NO_SUCH_CODE", "code"),
  () => new OmniQError("OMNIQ_TASK_FAILED", Symbol.iterator.description, { cause: hostile }),
  () => Object.assign(new OmniQError("OMNIQ_TASK_RETRY", "later"), { delayMs: revoked({}) }),
  () => ({ then: (resolve) => resolve(1) }),
  () => ({
    get then() {
      throw new Error("then");
    },
  }),
];
export const thrownCount = thrown.length;
const throwIt = (n) => {
  throw n < thrown.length ? thrown[n]() : mixed(n);
};

const outputs = [
  ...odd.map((value) => () => value),
  () => cycle(),
  () => throwing("message"),
  () => [hostile],
  () => ({ deep: deepObject(2_000) }),
  () => "\u0000",
  () => new Promise((resolve) => setTimeout(resolve, 1, revoked({}))),
  () => ({ then: (resolve) => resolve({ then: (again) => again(1) }) }),
  () => ({
    get then() {
      throw revoked({});
    },
  }),
];
function deepObject(levels) {
  let value = {};
  for (let level = 0; level < levels; level++) value = { value };
  return value;
}
export const outputCount = outputs.length;

export const delays = [
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  -1,
  -1e300,
  1e300,
  Number.MAX_SAFE_INTEGER,
  2 ** 60,
  0.5,
  "5",
  "soon",
  null,
  [],
  {},
  5n,
  true,
  Symbol("later"),
  revoked({}),
  hostile,
];

const once = { retry: { maxAttempts: 1 } };
const retried = { retry: { maxAttempts: 3, delayMs: 0 } };
const anything = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
const delay = (n) => Object.assign(new OmniQError("OMNIQ_TASK_RETRY", "later"), { delayMs: delays[n] });

export const throws = defineTask({ name: "throws", input: anything, ...once, run: throwIt });
export const throwsLater = defineTask({
  name: "throws-later",
  input: anything,
  ...once,
  run: async (n) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return throwIt(n);
  },
});
export const returns = defineTask({ name: "returns", input: anything, ...retried, run: (n) => outputs[n]() });
export const asks = defineTask({
  name: "asks",
  input: anything,
  ...retried,
  run: (n, { attempt }) => {
    if (attempt === 1) throw delay(n);
    return attempt;
  },
});
export const says = defineTask({
  name: "says",
  input: anything,
  run: (n, { log, progress }) => {
    log.info(odd[n], odd[n]);
    log.error("fields", { value: odd[n] });
    progress(0.5, odd[n]);
  },
});
export const bulkThrows = defineTask({ name: "bulk-throws", input: anything, ...once }).implementBatch(
  { maxSize: 1 },
  ([{ input }]) => throwIt(input),
);
export const bulkReturns = defineTask({ name: "bulk-returns", input: anything, ...retried }).implementBatch(
  { maxSize: 4 },
  (tasks) => tasks.map(({ input }) => outputs[input]()),
);
export const bulkAsks = defineTask({ name: "bulk-asks", input: anything, ...retried }).implementBatch(
  { maxSize: 4 },
  (tasks) => tasks.map(({ input, attempt }) => (attempt === 1 ? delay(input) : attempt)),
);
export const oddCount = odd.length;
export const refused = defineTask({
  name: "refused",
  ...once,
  run: () => {
    throw new PaymentRefused("the card was refused");
  },
});
/** Done only if two run at a time: no slot is lost. */
let waiting;
export const pair = defineTask({
  name: "pair",
  run: () =>
    new Promise((resolve) => {
      if (waiting === undefined) waiting = resolve;
      else {
        waiting("both");
        waiting = undefined;
        resolve("both");
      }
    }),
});
