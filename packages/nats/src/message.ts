// What stands in the messages of a command log: whole commits, and commits that are larger than a message, in parts.

/**
 * The first byte says what a message is.
 *
 * - `c`: a commit, whole. - `p`: a part of one that is too large for a message; it means nothing by itself.
 * - `r`: a commit whose parts are at the sequences given (JSON: a list of numbers). - `x`: nothing; it fills a place.
 */
export type MessageKind = "c" | "p" | "r" | "x";

/** A reference to parts that lie further back than this is void, for everyone alike; so parts need not be kept any longer. */
export const partWindow = 10_000;

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
