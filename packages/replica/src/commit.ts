// Commit bodies: how requests are written into the log, and how a body is read and checked, whoever wrote it.
import { OmniQError } from "@omniq/core";
import { createHash } from "node:crypto";
import type { WriteCommand } from "./command.ts";
import { newestRules } from "./state.ts";

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
  /** The rules by which it is applied, and the format of its body. Default: the newest. */
  readonly rules?: number | undefined;
  readonly id: string;
  /** Its position, where processes choose it; 0 where the server orders. */
  readonly sequence: number;
  /** The id of the commit before ({@link voidId} where that is void); empty for the first, and where the server orders. */
  readonly previous: string;
  /** The time by the writer's idea of the store's clock. */
  readonly at: number;
  readonly requests: readonly CommitRequest[];
}

/** A body that no OmniQ wrote, or that is not any more what was written: an empty commit, for everyone alike. */
export interface VoidCommit {
  readonly void: string;
}

/** The longest body, in characters: about half of what a string can have. What is longer is refused where it is written. */
export const maxCommitLength = 268_435_456;
const maxIdLength = 255;

/** From rules 2 on it covers their number too, so that a damaged digit is no other version. */
const checksumOf = (rules: number, text: string): string =>
  createHash("sha256")
    .update(rules < 2 ? "" : `${rules} `)
    .update(text)
    .digest("base64url")
    .slice(0, 22);

/** The body of a commit, whose format is the number of its rules. One that is too long is `OMNIQ_INVALID_INPUT`. */
export function encodeCommit({ rules = newestRules, ...commit }: Commit, most: number = maxCommitLength): string {
  let text: string;
  try {
    text = JSON.stringify(commit);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw tooLong(most);
  }
  if (text.length > most) throw tooLong(most);
  return `${rules} ${checksumOf(rules, text)} ${text}`;
}
function tooLong(most: number): OmniQError {
  return new OmniQError(
    "OMNIQ_INVALID_INPUT",
    `One call is too large for a commit: its JSON has more than ${most} characters, the limit; make several calls of it`,
  );
}

/** What a body that {@link encodeCommit} has just made says to whoever reads it: JSON drops and changes some of what a writer's objects hold. */
export function writtenCommit(body: string): Commit {
  const commit = JSON.parse(body.slice(body.indexOf("{"))) as Commit;
  return Object.assign(commit, { rules: Number.parseInt(body, 10) });
}

/** What an operator puts in the place of a commit that is damaged, to go on without what it held. */
const operatorsVoid = "void";
export const isOperatorsVoid = (body: string): boolean => body.trim() === operatorsVoid;
/** What stands for the id of a void commit in the one that follows it. */
export const voidId = (position: number): string => `void-${position}`;

/** Reads any body. Only one of a newer format is an error (`OMNIQ_ADAPTER_INCOMPATIBLE`): others understand it. */
export function readCommit(body: string, position: number): Commit | VoidCommit {
  if (isOperatorsVoid(body)) return { void: "it was declared void" };
  const head = /^(\d{1,9}) ([\w-]{22}) /.exec(body);
  if (head === null) return { void: "it is not a commit of OmniQ" };
  const [all, version = "", checksum = ""] = head;
  const text = body.slice(all.length);
  const rules = Number(version);
  if (rules > newestRules && checksumOf(rules, text) === checksum) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `Commit ${position} was written by a newer OmniQ (format ${version}); update this process`,
    );
  }
  if (rules < 1 || rules > newestRules || checksumOf(rules, text) !== checksum)
    return { void: "its checksum does not match" };
  try {
    const commit: unknown = JSON.parse(text);
    if (isCommit(commit)) return Object.assign(commit, { rules });
  } catch {
    // Not JSON, so not a commit.
  }
  return { void: "it is not a commit of OmniQ" };
}

/** Reads a body that must be a commit. One that is not is `OMNIQ_BACKEND_FAILED`, one of a newer format `OMNIQ_ADAPTER_INCOMPATIBLE`. */
export function decodeCommit(body: string, position: number): Commit {
  const read = readCommit(body, position);
  if ("void" in read) throw new OmniQError("OMNIQ_BACKEND_FAILED", `Commit ${position} is damaged: ${read.void}`);
  return read;
}

type Unknown<T> = { readonly [K in keyof T]?: unknown };
const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isId = (value: unknown): boolean => typeof value === "string" && value.length <= maxIdLength;
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

function isCommit(value: unknown): value is Commit {
  if (!isObject(value)) return false;
  const { id, sequence, previous, at, requests } = value as Unknown<Commit>;
  return (
    isId(id) &&
    isCount(sequence) &&
    isId(previous) &&
    Number.isFinite(at) &&
    Array.isArray(requests) &&
    requests.every(isRequest)
  );
}
function isRequest(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { lane, n, operations } = value as Unknown<CommitRequest>;
  if (!isCount(n) || !Array.isArray(operations)) return false;
  if (!operations.every((each) => isObject(each) && typeof (each as Unknown<WriteCommand>).verb === "string"))
    return false;
  if (lane === undefined) return true;
  return isObject(lane) && isId((lane as Unknown<Lane>).id) && isCount((lane as Unknown<Lane>).since);
}
