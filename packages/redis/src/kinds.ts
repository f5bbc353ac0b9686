// Kinds: what tasks of one definition have in common (name, queue, limits, envelope) is stored once, and their records refer to it.
import { createHash } from "node:crypto";
import type { NewTask } from "@omniq/core";
import type { Connection } from "./connection.ts";
import { newInbox, type Place } from "./inbox.ts";

/** From this many uses on. Tasks that differ each time (traces in headers) never come this far. */
const worthUses = 3;
/** More different ones than this are forgotten, or not stored at all. */
const maxWatched = 2_000;
const maxStored = 500;
/** Characters of a reference. Scripts count on it. */
export const referenceLength = 6;

/** The part of a task that a kind says. */
export type KindFields = Pick<
  NewTask,
  "name" | "queue" | "priority" | "maxAttempts" | "resultTtlMs" | "rememberMs" | "envelope"
>;

/** What a batch of tasks of one kind has in common, as the scripts take it. */
export interface Kind extends KindFields {
  /** The fields of a record that the client knows. */
  readonly head: string;
  /** The reference under which the server has it, if it does. */
  reference: string | undefined;
  /** Where its tasks need no script. */
  place: Place | undefined;
  uses: number;
}

/** Says that a record refers to a kind that this process has not read yet. */
class UnknownKind extends Error {
  readonly reference: string;
  constructor(reference: string) {
    super(reference);
    this.reference = reference;
  }
}

export class Kinds {
  readonly #connection: Connection;
  /** By text. */
  readonly #watched = new Map<string, Kind>();
  readonly #read = new Map<string, KindFields>();
  readonly #storing = new Set<string>();
  readonly #missing = new Set<string>();
  #stored = 0;
  #latest: Kind | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The kind of a task that is about to be enqueued. One that comes again is stored, and has a reference some calls later. */
  of(task: NewTask): Kind {
    const latest = this.#latest;
    // Most tasks are like the one before; comparing is cheaper than making the text to look it up by.
    const kind = latest !== undefined && isOf(latest, task) ? latest : this.#find(task);
    this.#latest = kind;
    kind.uses += 1;
    if (kind.reference === undefined && kind.uses >= worthUses && this.#stored < maxStored) void this.#store(kind);
    return kind;
  }

  /** The server lost what it had. */
  forget(): void {
    this.#watched.clear();
    this.#latest = undefined;
    this.#stored = 0;
  }

  /** Nothing where the server has none of this reference that can be read. */
  readonly read = (reference: string): KindFields | undefined => {
    const kind = this.#read.get(reference);
    if (kind === undefined && !this.#missing.has(reference)) throw new UnknownKind(reference);
    return kind;
  };

  /** Reads with the kinds that are known; a promise only where one must be learned first. */
  reading<T>(read: () => T): T | Promise<T> {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof UnknownKind)) throw error;
      return this.#learn(error.reference).then(async () => {
        try {
          return await this.reading(read);
        } finally {
          // It may be there when the next one asks.
          this.#missing.delete(error.reference);
        }
      });
    }
  }

  #find(task: NewTask): Kind {
    const head = headOf(task);
    const text = `${head}\0\0${task.envelope}`;
    const known = this.#watched.get(text);
    if (known !== undefined) return known;
    if (this.#watched.size > maxWatched) this.forget();
    const { name, queue, priority, maxAttempts, resultTtlMs, rememberMs, envelope } = task;
    const shared = { name, queue, priority, maxAttempts, resultTtlMs, rememberMs, envelope };
    const kind: Kind = { ...shared, head, reference: undefined, place: undefined, uses: 0 };
    this.#watched.set(text, kind);
    return kind;
  }

  async #learn(reference: string): Promise<void> {
    const key = this.#connection.key("v");
    const text = await this.#connection.main().send((client) => client.hget(key, reference));
    // The reference says whether the text is still the one that was stored.
    const kind = text === null || referenceOf(text) !== reference ? undefined : readKind(text);
    if (kind === undefined) this.#missing.add(reference);
    else this.#read.set(reference, kind);
  }

  async #store(kind: Kind): Promise<void> {
    const text = `${kind.head}\0\0${kind.envelope}`;
    if (this.#storing.has(text)) return;
    this.#storing.add(text);
    try {
      const reference = referenceOf(text);
      // Another text may have the same reference already: tasks of this kind then say all themselves.
      if ((await this.#connection.write<number>("kind", [reference, text, newInbox(this.#connection)])) !== 1) {
        kind.uses = Number.NEGATIVE_INFINITY;
        return;
      }
      this.#stored += 1;
      kind.reference = reference;
    } catch {
      // A full or absent server: tried again later.
      kind.uses = 0;
    } finally {
      this.#storing.delete(text);
    }
  }
}

function isOf(kind: Kind, task: NewTask): boolean {
  return (
    kind.envelope === task.envelope &&
    kind.name === task.name &&
    kind.queue === task.queue &&
    kind.priority === task.priority &&
    kind.maxAttempts === task.maxAttempts &&
    kind.resultTtlMs === task.resultTtlMs &&
    kind.rememberMs === task.rememberMs
  );
}

function referenceOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, referenceLength);
}

function headOf(task: NewTask): string {
  return `${task.name}\0${task.queue}\0${task.priority}\0${task.maxAttempts}\0${task.resultTtlMs ?? "-"}\0${task.rememberMs}\x001\x000`;
}

/** Nothing where it cannot be read. */
function readKind(text: string): KindFields | undefined {
  const cut = text.indexOf("\0\0");
  const [name = "", queue = "", priority, maxAttempts, resultTtl, remember] = text.slice(0, cut).split("\0");
  const numbers = [priority, maxAttempts, resultTtl === "-" ? 0 : resultTtl, remember].map(Number);
  if (cut < 0 || name === "" || queue === "" || !numbers.every(Number.isSafeInteger)) return undefined;
  return {
    name,
    queue,
    priority: Number(priority),
    maxAttempts: Number(maxAttempts),
    resultTtlMs: resultTtl === "-" ? null : Number(resultTtl),
    rememberMs: Number(remember),
    envelope: text.slice(cut + 2),
  };
}
