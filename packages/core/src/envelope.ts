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

/** Text of an envelope. */
export function encodeEnvelope(envelope: Envelope): string {
  return JSON.stringify(envelope);
}

/** The envelope that {@link encodeEnvelope} wrote. */
export function decodeEnvelope(text: string): Envelope {
  return JSON.parse(text) as Envelope;
}
