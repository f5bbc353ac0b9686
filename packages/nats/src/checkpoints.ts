// Checkpoints in a stream of their own: parts of at most 512 KB, then a head that names them; readers take the newest whole one.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { LogCheckpoint } from "@omniq/replica";
import type { Connection } from "./connection.ts";
import { encodeHead, readHead, type Head } from "./head.ts";
import { cut } from "./message.ts";
import { Stream } from "./stream.ts";

interface StoredHead extends Head {
  /** Of the stream of checkpoints. */
  readonly sequence: number;
}

const partBytes = 512 * 1024;
const together = 8;
/** How many messages that say that they are heads are looked at, where the last one is none. */
const mostHeads = 1_000;

export class Checkpoints {
  readonly #stream: Stream;
  readonly #subject: string;
  readonly #report: (message: string) => void;

  /** `report` hears of what is damaged. */
  constructor(
    connection: Connection,
    name: string,
    subject: string,
    replicas: number,
    report: (message: string) => void = () => {},
  ) {
    this.#stream = new Stream(connection, name, [`${subject}.*`], replicas);
    this.#subject = subject;
    this.#report = report;
  }

  /** The newest whole one (below a position); `broken` when there are some, and none is whole. */
  async read(below: number = Number.POSITIVE_INFINITY): Promise<LogCheckpoint | "broken" | undefined> {
    // A head whose parts are gone was overtaken while it was read, or comes from a server that does not know yet all that it holds.
    for (let tries = 0; tries < 8; tries++) {
      if (tries > 1) await sleep(tries * 25);
      const head = await this.#newest(below);
      if (head === undefined) return undefined;
      const pieces = await this.#pieces(head);
      if (Array.isArray(pieces)) return { position: head.position, pieces };
      if (pieces === "damaged") break;
    }
    for (const head of await this.#all(below)) {
      const pieces = await this.#pieces(head);
      if (Array.isArray(pieces)) return { position: head.position, pieces };
      this.#report(
        `The checkpoint at ${head.position} in stream ${this.#stream.name} is damaged: the one before it stands in`,
      );
    }
    return "broken";
  }

  /** Position of the newest one; 0 where there is none. */
  async position(): Promise<number> {
    return (await this.#newest())?.position ?? 0;
  }

  /** Stores it unless one of this or a later position is there. Answers with the position of the one before; undefined if not stored. */
  async write({ position, pieces }: LogCheckpoint): Promise<number | undefined> {
    await this.#stream.make();
    const before = await this.#newest();
    if (before !== undefined && before.position >= position) return undefined;
    const parts: number[] = [];
    const hash = createHash("sha256");
    await inTurns(
      bytesOf(pieces),
      async (bytes, index) => {
        parts[index] = await this.#stream.publish(`${this.#subject}.part`, bytes);
      },
      (bytes) => void hash.update(bytes),
    );
    const newest = await this.#newest();
    if (newest !== undefined && newest.position >= position) return undefined;
    // Not behind one that came meanwhile: the log may have been purged for it, up to after this one.
    const message = encodeHead({ position, parts, sha256: hash.digest("hex") });
    const last = await this.#last();
    const stored = await this.#stream.publishAfter(last?.seq ?? 0, `${this.#subject}.head`, message);
    if (stored === undefined) return undefined;
    // The one before stays whole for those who are reading it; parts that were given up go with the next.
    if (before !== undefined) await this.#stream.purgeBefore(Math.min(...before.parts));
    return before?.position ?? 0;
  }

  /** For a leader that lacks what others acknowledged: has another one answer from now on. */
  async changeLeader(): Promise<void> {
    await this.#stream.stepDown();
  }

  /** The last message that says that it is a head. */
  async #last(): Promise<{ readonly seq: number; readonly data: Uint8Array } | undefined> {
    // A server of 2.9 that is asked for a message of a stream which somebody is just making ends with a panic (jsMsgGetRequest); one that is asked
    // how long the stream is does not.
    const ends = await this.#stream.ends();
    if (ends === undefined || ends.last < ends.first) return undefined;
    return await this.#stream.message({ last_by_subj: `${this.#subject}.head` });
  }
  async #newest(below: number = Number.POSITIVE_INFINITY): Promise<StoredHead | undefined> {
    const message = await this.#last();
    if (message === undefined) return undefined;
    const head = readHead(message.data, this.#stream.name);
    if (head !== undefined && head.position < below) return { ...head, sequence: message.seq };
    if (head === undefined)
      this.#report(`Message ${message.seq} of stream ${this.#stream.name} is no head of a checkpoint: it is left out`);
    return (await this.#all(below))[0];
  }
  /** All heads, the newest first. */
  async #all(below: number): Promise<readonly StoredHead[]> {
    const heads: StoredHead[] = [];
    let seq = 1;
    for (let looked = 0; looked < mostHeads; looked++) {
      const message = await this.#stream.message({ seq, next_by_subj: `${this.#subject}.head` });
      if (message === undefined) break;
      const head = readHead(message.data, this.#stream.name);
      if (head !== undefined && head.position < below) heads.push({ ...head, sequence: message.seq });
      seq = message.seq + 1;
    }
    return heads.toReversed();
  }

  async #pieces(head: Head): Promise<string[] | "missing" | "damaged"> {
    const found: Uint8Array[] = [];
    let whole = true;
    await inTurns(head.parts, async (seq, index) => {
      const part = whole ? await this.#stream.message({ seq }) : undefined;
      if (part === undefined) whole = false;
      else found[index] = part.data;
    });
    if (!whole) return "missing";
    const hash = createHash("sha256");
    const decoder = new TextDecoder();
    const pieces = found.map((bytes) => {
      hash.update(bytes);
      return decoder.decode(bytes, { stream: true });
    });
    return hash.digest("hex") === head.sha256 ? pieces : "damaged";
  }
}

function* bytesOf(pieces: readonly string[]): Generator<Uint8Array> {
  for (const piece of pieces) yield* cut(Buffer.from(piece, "utf8"), partBytes);
}

/** A few at a time; `begin` sees each in order. */
async function inTurns<T>(
  items: Iterable<T>,
  work: (item: T, index: number) => Promise<void>,
  begin: (item: T) => void = () => {},
): Promise<void> {
  const turns = items[Symbol.iterator]();
  let next = 0;
  const take = async (): Promise<void> => {
    for (let turn = turns.next(); turn.done !== true; turn = turns.next()) {
      begin(turn.value);
      await work(turn.value, next++);
    }
  };
  await Promise.all(Array.from({ length: together }, take));
}
