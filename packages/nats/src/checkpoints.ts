// Checkpoints in a stream of their own: parts of at most 512 KB, then a head that names them; readers take the newest whole one.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import type { LogCheckpoint } from "@omniq/replica";
import type { Connection } from "./connection.ts";
import { cut } from "./message.ts";
import { Stream } from "./stream.ts";

interface Head {
  readonly version: 1;
  /** The last sequence of the log that the checkpoint holds. */
  readonly position: number;
  /** The sequences of its parts, in order. */
  readonly parts: readonly number[];
  readonly sha256: string;
}
interface StoredHead extends Head {
  /** Of the stream of checkpoints. */
  readonly sequence: number;
}

const partBytes = 512 * 1024;
const together = 8;

export class Checkpoints {
  readonly #stream: Stream;
  readonly #subject: string;

  constructor(connection: Connection, name: string, subject: string, replicas: number) {
    this.#stream = new Stream(connection, name, [`${subject}.*`], replicas);
    this.#subject = subject;
  }

  /** The newest one; `broken` when some of it is not there. */
  async read(): Promise<LogCheckpoint | "broken" | undefined> {
    // A head whose parts are gone was overtaken while it was read, or comes from a server that does not know yet all that it holds.
    for (let tries = 0; tries < 8; tries++) {
      if (tries > 1) await sleep(tries * 25);
      const head = await this.#head();
      if (head === undefined) return undefined;
      const body = await this.#body(head);
      if (body !== undefined) return { position: head.position, body };
    }
    return "broken";
  }

  /** Position of the newest one; 0 where there is none. */
  async position(): Promise<number> {
    return (await this.#head())?.position ?? 0;
  }

  /** Stores it unless one of this or a later position is there. Answers with the position of the one before; undefined if not stored. */
  async write({ position, body }: LogCheckpoint): Promise<number | undefined> {
    await this.#stream.make();
    const before = await this.#head();
    if (before !== undefined && before.position >= position) return undefined;
    const bytes = Buffer.from(body, "utf8");
    const pieces = cut(bytes, partBytes);
    const parts: number[] = Array.from({ length: pieces.length }, () => 0);
    await inTurns(pieces, async (piece, index) => {
      parts[index] = await this.#stream.publish(`${this.#subject}.part`, piece);
    });
    const head: Head = { version: 1, position, parts, sha256: createHash("sha256").update(bytes).digest("hex") };
    const newest = await this.#head();
    if (newest !== undefined && newest.position >= position) return undefined;
    // Not behind one that came meanwhile: the log may have been purged for it, up to after this one.
    const message = Buffer.from(JSON.stringify(head));
    const stored = await this.#stream.publishAfter(newest?.sequence ?? 0, `${this.#subject}.head`, message);
    if (stored === undefined) return undefined;
    // The one before stays whole for those who are reading it; parts that were given up go with the next.
    if (before !== undefined) await this.#stream.purgeBefore(Math.min(...before.parts));
    return before?.position ?? 0;
  }

  /** For a leader that lacks what others acknowledged: has another one answer from now on. */
  async changeLeader(): Promise<void> {
    await this.#stream.stepDown();
  }

  async #head(): Promise<StoredHead | undefined> {
    // A server of 2.9 that is asked for a message of a stream which somebody is just making ends with a panic (jsMsgGetRequest); one that is asked
    // how long the stream is does not.
    const ends = await this.#stream.ends();
    if (ends === undefined || ends.last < ends.first) return undefined;
    const message = await this.#stream.message({ last_by_subj: `${this.#subject}.head` });
    if (message === undefined) return undefined;
    const head = JSON.parse(Buffer.from(message.data).toString("utf8")) as Head;
    if (head.version !== 1) {
      throw new OmniQError(
        "OMNIQ_ADAPTER_INCOMPATIBLE",
        `Stream ${this.#stream.name} was written by a newer OmniQ (format ${String(head.version)}); update this process`,
      );
    }
    return { ...head, sequence: message.seq };
  }

  async #body(head: Head): Promise<string | undefined> {
    const pieces: Uint8Array[] = [];
    let whole = true;
    await inTurns(head.parts, async (seq, index) => {
      const part = await this.#stream.message({ seq });
      if (part === undefined) whole = false;
      else pieces[index] = part.data;
    });
    if (!whole) return undefined;
    const bytes = Buffer.concat(pieces);
    if (createHash("sha256").update(bytes).digest("hex") !== head.sha256) {
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `The checkpoint in stream ${this.#stream.name} is damaged: its checksum does not match; restore it from a backup`,
      );
    }
    return bytes.toString("utf8");
  }
}

/** A few at a time. */
async function inTurns<T>(items: readonly T[], work: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(together, items.length) }, async () => {
      while (next < items.length) {
        const index = next++;
        await work(items[index] as T, index);
      }
    }),
  );
}
