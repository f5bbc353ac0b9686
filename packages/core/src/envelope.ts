// Core's own text beside a payload: what a worker needs to know of a task, and what no backend looks into.

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

/** As it is written. Short, since it stands beside every task: retry policy, time limit, and what few tasks have. */
interface Written {
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
    r: [retry.backoff, retry.delayMs, retry.factor, retry.maxDelayMs, retry.jitter],
    t: timeoutMs,
  };
  if (Object.keys(headers).length > 0) written.h = headers;
  if (slots !== undefined) written.s = slots;
  return shared(JSON.stringify(written));
}

/** The envelope that {@link encodeEnvelope} wrote. */
export function decodeEnvelope(text: string): Envelope {
  const { r, t, h = {}, s } = JSON.parse(text) as Written;
  const [backoff, delayMs, factor, maxDelayMs, jitter] = r;
  return { retry: { backoff, delayMs, factor, maxDelayMs, jitter }, timeoutMs: t, headers: h, slots: s };
}
