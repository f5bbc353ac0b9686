// What came from the log and was not read yet: commits in order, whole or as parts, and up to where all is known.
import { OmniQError } from "@omniq/core";
import { maxCommitLength, type LogEntry } from "@omniq/replica";
import { kindOf, partWindow, readParts, textOf } from "./message.ts";
import type { Stream } from "./stream.ts";

/** What one read gives at most, about, in characters: applying it must not hold up the process for long. */
const readLength = 1_048_576;
/** What may wait here to be read. */
const heldLength = 16 * readLength;
/** How many bytes of parts are kept until their commit comes; those that do not fit are fetched then. */
const partsLength = 64 * readLength;
/** UTF-8 of the longest commit. */
const commitBytes = 3 * maxCommitLength;

/** A message of the log, from wherever it came. */
export interface LogMessage {
  readonly sequence: number;
  readonly data: Uint8Array;
  /** The server's time of the message: epoch milliseconds. */
  readonly storedAt: number;
}

/** A commit that came; parts that did not come with it are still numbers, to be fetched. */
interface Arrived {
  readonly position: number;
  readonly storedAt: number;
  readonly body: string | readonly (Uint8Array | number)[];
}

export class Arrivals {
  readonly #stream: Stream;
  /** In order; everything after {@link taken} up to {@link seen}. */
  #arrived: Arrived[] = [];
  #length = 0;
  /** The last read left some of what was there. */
  #more = false;
  readonly #parts = new Map<number, Uint8Array>();
  #partsLength = 0;
  /** Up to here all was read. */
  taken = 0;
  /** The last sequence that came, whether it was a commit or not. */
  seen = 0;
  /** The newest message that came, to recognise the log by after a reconnect. */
  mark: LogMessage | undefined;

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  get empty(): boolean {
    return this.#arrived.length === 0;
  }
  /** So much waits to be read that what comes is better left with the server. */
  get full(): boolean {
    return this.#length > heldLength;
  }
  /** Position of the last commit that waits; 0 where none does. */
  get last(): number {
    return this.#arrived.at(-1)?.position ?? 0;
  }

  /** Forgets what came, to begin at a position. */
  reset(position: number): void {
    this.#arrived = [];
    this.#length = 0;
    this.#more = false;
    this.#parts.clear();
    this.#partsLength = 0;
    this.seen = position - 1;
    this.taken = position - 1;
  }

  /** Sorts in the message that comes next. */
  add(message: LogMessage): void {
    const { sequence, data, storedAt } = message;
    this.mark = message;
    this.seen = sequence;
    this.#length += data.length;
    const kind = kindOf(data);
    if (kind === "c") this.#arrived.push({ position: sequence, storedAt, body: textOf(data) });
    else if (kind === "p") this.#keepPart(sequence, data.slice(1));
    else if (kind === "r") {
      const parts = readParts(textOf(data), sequence);
      const body = parts?.map((part) => this.#parts.get(part) ?? part) ?? "";
      this.#arrived.push({ position: sequence, storedAt, body });
      for (const part of parts ?? []) this.#dropPart(part);
    } else if (kind === undefined) this.#arrived.push({ position: sequence, storedAt, body: "" });
  }
  /** `piece`: a copy, as a message holds the whole buffer in which it came. */
  #keepPart(sequence: number, piece: Uint8Array): void {
    this.#parts.set(sequence, piece);
    this.#partsLength += piece.length;
    for (const old of this.#parts.keys()) {
      if (sequence - old <= partWindow && this.#partsLength <= partsLength) break;
      this.#dropPart(old);
    }
  }
  #dropPart(sequence: number): void {
    this.#partsLength -= this.#parts.get(sequence)?.length ?? 0;
    this.#parts.delete(sequence);
  }

  /** Lets timers and other connections have their turn between the reads of a long replay. */
  async rest(): Promise<void> {
    if (this.#more) await new Promise((resolve) => void setImmediate(resolve));
  }
  /** Gives away what is there from `position` on, or the first of it where it is much. */
  async take(position: number): Promise<LogEntry[]> {
    let length = 0;
    let count = 0;
    while (count < this.#arrived.length && length < readLength) length += lengthOf(this.#arrived[count++] as Arrived);
    const taken = this.#arrived.splice(0, count);
    this.#more = this.#arrived.length > 0;
    this.#length = this.#more ? this.#length - length : 0;
    this.taken = Math.max(this.taken, taken.at(-1)?.position ?? 0);
    const entries: LogEntry[] = [];
    for (const { position: at, storedAt, body } of taken) {
      if (at < position) continue;
      const text = typeof body === "string" ? body : await this.#join(body);
      entries.push({ position: at, body: text, storedAt });
    }
    return entries;
  }
  /** The text of a commit in parts; empty, so that it is void for everyone, where what it names are no parts. */
  async #join(parts: readonly (Uint8Array | number)[]): Promise<string> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for (const part of parts) {
      const piece = typeof part === "number" ? await this.#fetch(part) : part;
      bytes += piece?.length ?? 0;
      if (piece === undefined || bytes > commitBytes) return "";
      pieces.push(piece);
    }
    const whole = Buffer.concat(pieces);
    // What is longer than a string can be is no commit; characters of several bytes may be fewer than bytes.
    return whole.length > 2 * maxCommitLength ? "" : whole.toString("utf8");
  }
  async #fetch(sequence: number): Promise<Uint8Array | undefined> {
    const message = await this.#stream.message({ seq: sequence });
    if (message !== undefined) return kindOf(message.data) === "p" ? message.data.subarray(1) : undefined;
    // Before the beginning of the log there never was a part that is still wanted. In its midst a node may lack what others have.
    const first = (await this.#stream.ends())?.first ?? 0;
    if (sequence < first) return undefined;
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `A part of a commit, message ${sequence}, is missing in stream ${this.#stream.name}; restore it from a backup`,
    );
  }
}

function lengthOf({ body }: Arrived): number {
  return typeof body === "string" ? body.length : readLength;
}
