// Core's own text beside a payload: what a worker needs to know of a task, and what no backend looks into.
import { maxDurationMs } from "./duration.ts";
import { checkVersion, damaged, isBetween, isRecord, isWhole, parseObject } from "./stored-text.ts";

/** A retry policy with every field decided. */
export interface ResolvedRetry {
  readonly backoff: "exponential" | "linear" | "fixed";
  readonly delayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly jitter: number;
}

export interface Envelope {
  readonly retry: ResolvedRetry;
  /** `null`: none. */
  readonly timeoutMs: number | null;
  readonly headers: Readonly<Record<string, string>>;
  /** Dependency slots: name → id, or ids for a slot of many. */
  readonly slots?: Readonly<Record<string, string | readonly string[]>> | undefined;
}

/** The format that this version writes. */
const version = 1;

/** As it is written. Short, since it stands beside every task: version, retry policy, time limit, and what few tasks have. */
interface Written {
  readonly v: typeof version;
  readonly r: readonly [ResolvedRetry["backoff"], delayMs: number, factor: number, maxDelayMs: number, jitter: number];
  readonly t: number | null;
  readonly h?: Readonly<Record<string, string>>;
  readonly s?: Readonly<Record<string, string | readonly string[]>>;
}

const texts = new Map<string, string>();

/** Equal texts become one string: a backlog in memory holds it once, and looking it up needs no new hash. */
function shared(text: string): string {
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (text.length > 1_024) return text;
  if (texts.size >= 256) texts.clear();
  texts.set(text, text);
  return text;
}

/** Text of an envelope. */
export function encodeEnvelope({ retry, timeoutMs, headers, slots }: Envelope): string {
  const written: { -readonly [K in keyof Written]: Written[K] } = {
    v: version,
    r: [retry.backoff, retry.delayMs, retry.factor, retry.maxDelayMs, retry.jitter],
    t: timeoutMs,
  };
  if (Object.keys(headers).length > 0) written.h = headers;
  if (slots !== undefined) written.s = slots;
  return shared(JSON.stringify(written));
}

/**
 * The envelope that {@link encodeEnvelope} wrote. Throws `OMNIQ_ITEM_DAMAGED`, and nothing else, for any other text: what it gives is within the
 * bounds that options have.
 */
export function decodeEnvelope(text: string): Envelope {
  const what = "The envelope of a task";
  const written = parseObject(text, what);
  // Texts of before versions were written have none; they are of the first.
  checkVersion(written["v"] ?? 1, version, what);
  const { r, t, h = {}, s } = written;
  if (!Array.isArray(r)) throw damaged(what, "it has no retry policy");
  const [backoff, delayMs, factor, maxDelayMs, jitter] = r as readonly unknown[];
  if (backoff !== "exponential" && backoff !== "linear" && backoff !== "fixed") throw damaged(what, "its backoff");
  if (!isWhole(delayMs, 0, maxDurationMs)) throw damaged(what, "its delay");
  if (!isBetween(factor, 1, 1_000)) throw damaged(what, "its factor");
  if (!isWhole(maxDelayMs, 0, maxDurationMs)) throw damaged(what, "its longest delay");
  if (!isBetween(jitter, 0, 1)) throw damaged(what, "its jitter");
  if (t !== null && !isWhole(t, 1, 2_147_483_647)) throw damaged(what, "its time limit");
  if (!isHeaders(h)) throw damaged(what, "its headers");
  if (s !== undefined && !isSlots(s)) throw damaged(what, "its dependency slots");
  return { retry: { backoff, delayMs, factor, maxDelayMs, jitter }, timeoutMs: t, headers: h, slots: s };
}

function isHeaders(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((one) => typeof one === "string");
}

function isSlots(value: unknown): value is Readonly<Record<string, string | readonly string[]>> {
  if (!isRecord(value)) return false;
  return Object.values(value).every(
    (one) =>
      typeof one === "string" || (Array.isArray(one) && one.every((id) => typeof id === "string" && id.length > 0)),
  );
}
