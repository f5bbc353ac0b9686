// What stands in the messages of a command log: whole commits, and commits that are larger than a message, in parts.

/**
 * The first byte says what a message is.
 *
 * - `c`: a commit, whole. - `p`: a part of one that is too large for a message; it means nothing by itself.
 * - `r`: a commit whose parts are at the sequences given (JSON: a list of numbers). - `x`: nothing; it fills a place, or asks those who
 *   follow to look whether a checkpoint lacks.
 *
 * Anybody with the right to publish can send anything, so what is none of these, or names parts that can't be, counts as a void commit.
 */
export type MessageKind = "c" | "p" | "r" | "x";

/** A reference to parts that lie further back than this is void, for everyone alike; so parts need not be kept any longer. */
export const partWindow = 10_000;

/** Parts of one commit: its greatest length in the smallest messages that a server is set to. */
const mostParts = 8_192;

/** The sequences of a commit's parts. Undefined for what names none, or such as can't be parts of the message at this sequence. */
export function readParts(text: string, sequence: number): readonly number[] | undefined {
  if (text.length > 20 * mostParts) return undefined;
  try {
    const parts: unknown = JSON.parse(text);
    if (!Array.isArray(parts) || parts.length === 0 || parts.length > mostParts) return undefined;
    const isPart = (part: unknown): boolean =>
      Number.isSafeInteger(part) &&
      (part as number) < sequence &&
      (part as number) >= Math.max(1, sequence - partWindow);
    return parts.every(isPart) && new Set(parts).size === parts.length ? (parts as readonly number[]) : undefined;
  } catch {
    return undefined;
  }
}

const encoder = new TextEncoder();

/** A message of this kind. */
export function encodeMessage(kind: MessageKind, body: Uint8Array | string): Uint8Array {
  const bytes = typeof body === "string" ? encoder.encode(body) : body;
  const message = new Uint8Array(bytes.length + 1);
  message[0] = kind.charCodeAt(0);
  message.set(bytes, 1);
  return message;
}

/** Undefined for a message that none of ours has written. */
export function kindOf(message: Uint8Array): MessageKind | undefined {
  const kind = String.fromCharCode(message[0] ?? 0);
  return kind === "c" || kind === "p" || kind === "r" || kind === "x" ? kind : undefined;
}
export function textOf(message: Uint8Array): string {
  return Buffer.from(message.buffer, message.byteOffset + 1, message.byteLength - 1).toString("utf8");
}

/** Cuts bytes into pieces of at most `size`. */
export function cut(bytes: Uint8Array, size: number): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces.length > 0 ? pieces : [bytes];
}
