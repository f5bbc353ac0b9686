// The head of a checkpoint: what stands in the message that makes its parts one.
import { createHash } from "node:crypto";
import { OmniQError } from "@omniq/core";

export interface Head {
  /** The last sequence of the log that the checkpoint holds. */
  readonly position: number;
  /** The sequences of its parts, in order. */
  readonly parts: readonly number[];
  /** Of the bytes of all parts. */
  readonly sha256: string;
}

/** 1: the text is one JSON value, and the head has no checksum of its own. 2: it is lines, see `encodePieces` of @omniq/replica. */
const version = 2;

const checkOf = (of: number, { position, parts, sha256 }: Head): string =>
  createHash("sha256")
    .update(JSON.stringify([of, position, parts, sha256]))
    .digest("base64url")
    .slice(0, 22);

export function encodeHead(head: Head): Uint8Array {
  return Buffer.from(JSON.stringify({ version, ...head, check: checkOf(version, head) }));
}

/** Undefined for what is no head. One of a newer version is `OMNIQ_ADAPTER_INCOMPATIBLE`. */
export function readHead(data: Uint8Array, stream: string): Head | undefined {
  let head: { readonly [K in keyof Head | "version" | "check"]?: unknown } | null;
  try {
    head = JSON.parse(Buffer.from(data).toString("utf8")) as typeof head;
  } catch {
    return undefined;
  }
  if (typeof head !== "object" || head === null) return undefined;
  const { version: written, position, parts, sha256, check } = head;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
  if (!isCount(written) || !isCount(position) || typeof sha256 !== "string") return undefined;
  // A part that is named twice would be held twice, however small the message.
  if (!Array.isArray(parts) || parts.length === 0 || !parts.every(isCount)) return undefined;
  if (new Set(parts).size !== parts.length) return undefined;
  const read: Head = { position, parts: parts as readonly number[], sha256 };
  if (written > 1 && check !== checkOf(written, read)) return undefined;
  if (written > version) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `Stream ${stream} was written by a newer OmniQ (format ${written}); update this process`,
    );
  }
  return read;
}
