// The settings beside components: defaults of tasks, times to live, queues, the log level, the kind of workers.
import type { QueueSettings } from "../contracts/index.ts";
import { isOmniQError } from "../errors.ts";
import { checkKey, describeType, maxPriority, minPriority } from "../limits.ts";
import type { LogLevel } from "../logger.ts";
import type { TaskDefaults } from "../options.ts";
import type { WorkerKind } from "../worker.ts";
import { parseJson } from "./json.ts";
import type { Layer } from "./layers.ts";
import { suggestion } from "./names.ts";
import { isPlainObject, readKeys, type Entry, type Problems } from "./problems.ts";

/** Canonical names of all settings. */
export const settingNames: ReadonlySet<string> = new Set([
  "defaults",
  "queues",
  "result_ttl",
  "result_ttl_ms",
  "task_ttl",
  "task_ttl_ms",
  "log_level",
  "default_worker",
]);

export interface Settings {
  readonly defaults: TaskDefaults | undefined;
  readonly queues: Readonly<Record<string, QueueSettings>> | undefined;
  readonly logLevel: LogLevel | undefined;
  readonly defaultWorkerKind: WorkerKind | undefined;
}

/** Answers with the value, or with undefined after it noted a problem. */
type Reader = (entry: Entry, problems: Problems) => unknown;
/** How the keys of an object are read: the name in the result, and the reader. */
type Fields = Readonly<Record<string, { readonly name: string; readonly read: Reader }>>;

const fail = (entry: Entry, problems: Problems, wanted: string): undefined => {
  problems.at(
    entry,
    `must be ${wanted}, not ${entry.text || typeof entry.value === "string" ? "what was given" : describeType(entry.value)}`,
  );
};

interface NumberRule {
  readonly minimum: number;
  readonly maximum?: number;
  readonly fraction?: boolean;
  /** null, or this word in a file or a variable, stands for no limit. */
  readonly unlimited?: "forever" | "none";
  /** Seconds become milliseconds. */
  readonly factor?: 1_000;
}
function numberReader(rule: NumberRule): Reader {
  const { minimum, fraction = false, unlimited, factor = 1 } = rule;
  // In milliseconds, too, it has to be a safe integer.
  const maximum = rule.maximum ?? Math.floor(Number.MAX_SAFE_INTEGER / factor);
  const range = rule.maximum === undefined ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  const wanted = `${fraction ? "a number" : "a whole number"} ${range}${unlimited === undefined ? "" : `, or null or "${unlimited}" for no limit`}`;
  return (entry, problems) => {
    const given = entry.text ? (entry.value as string).trim() : entry.value;
    if (unlimited !== undefined && (given === null || given === unlimited || (entry.text && given === "null")))
      return null;
    const value = entry.text && /^[+-]?\d+(\.\d+)?$/.test(given as string) ? Number(given) : given;
    if (typeof value !== "number" || !Number.isFinite(value) || value < minimum || value > maximum)
      return fail(entry, problems, wanted);
    if (!fraction && !Number.isSafeInteger(value)) return fail(entry, problems, wanted);
    return Math.round(value * factor);
  };
}
const wordReader =
  (words: readonly string[], others: Readonly<Record<string, string>> = {}): Reader =>
  (entry, problems) => {
    const word = typeof entry.value === "string" ? entry.value.trim().toLowerCase() : undefined;
    const found = word !== undefined && Object.hasOwn(others, word) ? others[word] : word;
    if (found !== undefined && words.includes(found)) return found;
    problems.at(
      entry,
      `must be one of ${words.join(", ")}${word === undefined ? `, not ${describeType(entry.value)}` : suggestion(word, words)}`,
    );
    return undefined;
  };
const keyReader: Reader = (entry, problems) => {
  try {
    checkKey("it", entry.value);
    return entry.value;
  } catch (error) {
    if (!isOmniQError(error)) throw error;
    problems.at(entry, error.message);
    return undefined;
  }
};
const headersReader: Reader = (entry, problems) =>
  isPlainObject(entry.value) && Object.values(entry.value).every((value) => typeof value === "string")
    ? entry.value
    : fail(entry, problems, "a map of strings");

function objectReader(fields: Fields): Reader {
  return (entry, problems) => {
    const result: Record<string, unknown> = {};
    const object = readObject(entry, problems);
    if (object === undefined) return undefined;
    for (const [name, field] of readKeys(object, entry.path, entry.source, problems)) {
      const known = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (known === undefined) problems.at(field, `unknown key${suggestion(name, Object.keys(fields))}`);
      else {
        const value = known.read(field, problems);
        if (value !== undefined) result[known.name] = value;
      }
    }
    return result;
  };
}
/** An object, in a variable as JSON. */
function readObject(entry: Entry, problems: Problems): Readonly<Record<string, unknown>> | undefined {
  let value = entry.value;
  if (entry.text) {
    const parsed = parseJson(value as string);
    if ("problem" in parsed) {
      problems.at(entry, parsed.problem);
      return undefined;
    }
    value = parsed.value;
  }
  return isPlainObject(value) ? value : fail(entry, problems, "a map of keys");
}

const milliseconds = (minimum: number, unlimited?: "forever" | "none"): Reader =>
  numberReader({ minimum, ...(unlimited && { unlimited }) });
const retry: Fields = {
  max_attempts: { name: "maxAttempts", read: numberReader({ minimum: 1 }) },
  backoff: { name: "backoff", read: wordReader(["exponential", "linear", "fixed"]) },
  delay_ms: { name: "delayMs", read: milliseconds(0) },
  factor: { name: "factor", read: numberReaderOfFraction(1) },
  max_delay_ms: { name: "maxDelayMs", read: milliseconds(0) },
  jitter: { name: "jitter", read: numberReaderOfFraction(0, 1) },
};
/** A number that is kept as it is. */
function numberReaderOfFraction(minimum: number, maximum?: number): Reader {
  return (entry, problems) => {
    const { value } = entry;
    if (typeof value === "number" && Number.isFinite(value) && value >= minimum && value <= (maximum ?? Infinity))
      return value;
    return fail(
      entry,
      problems,
      maximum === undefined ? `a number of at least ${minimum}` : `a number from ${minimum} to ${maximum}`,
    );
  };
}
const defaults: Fields = {
  queue: { name: "queue", read: keyReader },
  priority: { name: "priority", read: numberReader({ minimum: minPriority, maximum: maxPriority }) },
  retry: { name: "retry", read: objectReader(retry) },
  timeout_ms: { name: "timeoutMs", read: milliseconds(1, "none") },
  result_ttl_ms: { name: "resultTtlMs", read: milliseconds(0, "forever") },
  remember_ms: { name: "rememberMs", read: milliseconds(0) },
  expires_in_ms: { name: "expiresInMs", read: milliseconds(1, "none") },
  headers: { name: "headers", read: headersReader },
};
const queue: Fields = {
  max_active: { name: "maxActive", read: milliseconds(1, "none") },
  rate_limit: {
    name: "rateLimit",
    read: (entry, problems) =>
      entry.value === null
        ? null
        : objectReader({
            limit: { name: "limit", read: numberReader({ minimum: 1 }) },
            window_ms: { name: "windowMs", read: milliseconds(1) },
          })(entry, problems),
  },
  dead_letter_ttl_ms: { name: "deadLetterTtlMs", read: milliseconds(0, "forever") },
};

/** Times to live have names of their own beside their place in `defaults`. */
const timesToLive: readonly { readonly name: string; readonly field: string; readonly read: Reader }[] = [
  {
    name: "result_ttl",
    field: "resultTtlMs",
    read: numberReader({ minimum: 0, fraction: true, factor: 1_000, unlimited: "forever" }),
  },
  { name: "result_ttl_ms", field: "resultTtlMs", read: milliseconds(0, "forever") },
  {
    name: "task_ttl",
    field: "expiresInMs",
    read: numberReader({ minimum: 0.001, fraction: true, factor: 1_000, unlimited: "none" }),
  },
  { name: "task_ttl_ms", field: "expiresInMs", read: milliseconds(1, "none") },
];
const workerKind: Reader = (entry, problems) => {
  if (typeof entry.value === "string" && /^(gevent|greenlets?)$/i.test(entry.value.trim())) {
    problems.at(
      entry,
      "gevent is a library of Python's and has no counterpart in Node.js, whose handlers are asynchronous already; use async",
    );
    return undefined;
  }
  return wordReader(["async", "thread", "process"])(entry, problems);
};
const logLevel: Reader = wordReader(["debug", "info", "warn", "error", "silent"], { warning: "warn" });

/** Merges the settings of all layers, field by field, lowest layer first. */
export function readSettings(layers: readonly Layer[], problems: Problems): Settings {
  const task: Record<string, unknown> = {};
  const queues = new Map<string, Record<string, unknown>>();
  let level: unknown;
  let kind: unknown;
  for (const { settings } of layers) {
    const own = {
      ...(readOptional(settings.get("defaults"), objectReader(defaults), problems) as
        | Record<string, unknown>
        | undefined),
    };
    const origin = new Map(Object.keys(own).map((field) => [field, `${settings.get("defaults")!.path}`]));
    for (const { name, field, read } of timesToLive) {
      const entry = settings.get(name);
      if (entry === undefined) continue;
      const value = read(entry, problems);
      const earlier = origin.get(field);
      if (earlier !== undefined) problems.at(entry, `given twice, here and in ${earlier}; keep one of them`);
      origin.set(field, entry.path);
      if (value !== undefined) own[field] = value;
    }
    // Retry is merged by its own fields, as the client does between its defaults and a definition.
    if (own["retry"] !== undefined)
      own["retry"] = { ...(task["retry"] as object | undefined), ...(own["retry"] as object) };
    if (own["headers"] !== undefined)
      own["headers"] = { ...(task["headers"] as object | undefined), ...(own["headers"] as object) };
    Object.assign(task, own);
    mergeQueues(queues, settings.get("queues"), problems);
    level = readOptional(settings.get("log_level"), logLevel, problems) ?? level;
    kind = readOptional(settings.get("default_worker"), workerKind, problems) ?? kind;
  }
  for (const [name, { rateLimit }] of queues) {
    if (rateLimit && Object.keys(rateLimit).length < 2)
      problems.add(`queues.${name}: rate_limit needs both limit and window_ms`);
  }
  // No limit is what the client does by itself; only the layers need a word for it.
  if (task["expiresInMs"] === null) delete task["expiresInMs"];
  return {
    defaults: Object.keys(task).length === 0 ? undefined : (task as TaskDefaults),
    queues: queues.size === 0 ? undefined : (Object.fromEntries(queues) as Record<string, QueueSettings>),
    logLevel: level as LogLevel | undefined,
    defaultWorkerKind: kind as WorkerKind | undefined,
  };
}

function readOptional(entry: Entry | undefined, read: Reader, problems: Problems): unknown {
  return entry === undefined ? undefined : read(entry, problems);
}

function mergeQueues(queues: Map<string, Record<string, unknown>>, entry: Entry | undefined, problems: Problems): void {
  if (entry === undefined) return;
  for (const [name, value] of Object.entries(readObject(entry, problems) ?? {})) {
    const field: Entry = { path: `${entry.path}.${name}`, value, text: false, source: entry.source };
    // Names of queues are the user's: they are kept as they are, in any case.
    if (keyReader({ ...field, value: name }, problems) === undefined || value === undefined) continue;
    const settings = objectReader(queue)(field, problems) as Record<string, unknown> | undefined;
    if (settings === undefined) continue;
    const merged = { ...queues.get(name), ...settings };
    if (settings["rateLimit"])
      merged["rateLimit"] = {
        ...(queues.get(name)?.["rateLimit"] as object | undefined),
        ...(settings["rateLimit"] as object),
      };
    queues.set(name, merged);
  }
}
