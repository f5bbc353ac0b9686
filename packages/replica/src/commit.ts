// Commit bodies: how requests are written into the log, and how a body is read and checked.
import { OmniQError } from "@omniq/core";
import { createHash } from "node:crypto";
import type { WriteCommand } from "./command.ts";

/** A lane carries one request at a time. `since`: the last position that its process had applied when it made the lane. */
export interface Lane {
  readonly id: string;
  readonly since: number;
}
export interface CommitRequest {
  /** Without a lane the request takes effect as often as it stands in the log: only for what is idempotent by itself, and asks for no answer. */
  readonly lane?: Lane | undefined;
  /** 1 for the lane's first request, and one more for each. */
  readonly n: number;
  readonly operations: readonly WriteCommand[];
}
/** A request of a lane: the kind whose answer somebody waits for. */
export type LaneRequest = CommitRequest & { readonly lane: Lane };

export interface Commit {
  readonly id: string;
  /** Its position, where processes choose it; 0 where the server orders. */
  readonly sequence: number;
  /** The id of the commit before; empty for the first, and where the server orders. */
  readonly previous: string;
  /** The time by the writer's idea of the store's clock. */
  readonly at: number;
  readonly requests: readonly CommitRequest[];
}

const checksumOf = (text: string): string => createHash("sha256").update(text).digest("base64url").slice(0, 22);

export function encodeCommit(commit: Commit): string {
  const text = JSON.stringify(commit);
  return `1 ${checksumOf(text)} ${text}`;
}

/** Reads a body. One that does not match its checksum is `OMNIQ_BACKEND_FAILED`, one of a newer format `OMNIQ_ADAPTER_INCOMPATIBLE`. */
export function decodeCommit(body: string, position: number): Commit {
  const [version = "", checksum = ""] = body.split(" ", 2);
  if (/^\d+$/.test(version) && Number(version) > 1) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `Commit ${position} was written by a newer OmniQ (format ${version}); update this process`,
    );
  }
  const text = body.slice(version.length + checksum.length + 2);
  if (version !== "1" || checksumOf(text) !== checksum) {
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `Commit ${position} is damaged: its checksum does not match; restore the store from a backup`,
    );
  }
  return JSON.parse(text) as Commit;
}

/** For a commit that goes on from another one than was applied, however often the log is opened. */
export function foreignCommit(position: number): OmniQError {
  return new OmniQError(
    "OMNIQ_BACKEND_FAILED",
    `Commit ${position} does not follow the one before it, so it is of another log: take it away, or restore the store from a backup`,
  );
}
