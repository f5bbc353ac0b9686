// Envelopes are the same for most tasks of a definition: one that comes again is stored once, and records refer to it.
import { createHash } from "node:crypto";
import { OmniQError } from "@omniq/core";
import type { Connection } from "./connection.ts";

/** Shorter ones are cheaper as they are. */
const worthLength = 32;
/** From this many uses on. Envelopes that differ with each task (traces in headers) never come this far. */
const worthUses = 3;
/** More different ones than this are forgotten, or not stored at all. */
const maxWatched = 2_000;
const maxStored = 500;

/** Says that a record refers to an envelope that this process has not read yet. */
export class UnknownEnvelope extends Error {
  readonly reference: string;
  constructor(reference: string) {
    super(reference);
    this.reference = reference;
  }
}

export class Envelopes {
  readonly #connection: Connection;
  readonly #uses = new Map<string, number>();
  /** What the server has, by text and by reference. */
  readonly #references = new Map<string, string>();
  readonly #texts = new Map<string, string>();
  readonly #storing = new Set<string>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The reference under which the server has this envelope, if it does. */
  referenceOf(text: string): string | undefined {
    if (text.length < worthLength) return undefined;
    const known = this.#references.get(text);
    if (known !== undefined) return known;
    const uses = (this.#uses.get(text) ?? 0) + 1;
    if (this.#uses.size > maxWatched) this.#uses.clear();
    this.#uses.set(text, uses);
    if (uses >= worthUses && this.#references.size < maxStored && !this.#storing.has(text)) void this.#store(text);
    return undefined;
  }

  /** The server lost what it had. */
  forget(): void {
    this.#references.clear();
    this.#uses.clear();
  }

  readonly textOf = (reference: string): string => {
    const text = this.#texts.get(reference);
    if (text === undefined) throw new UnknownEnvelope(reference);
    return text;
  };

  /** Reads with the envelopes that are known, and learns those that are not. */
  async reading<T>(read: () => T): Promise<T> {
    for (;;) {
      try {
        return read();
      } catch (error) {
        if (!(error instanceof UnknownEnvelope)) throw error;
        await this.#learn(error.reference);
      }
    }
  }

  async #learn(reference: string): Promise<void> {
    const key = this.#connection.key("v");
    const text = await this.#connection.main().send((client) => client.hget(key, reference));
    if (text === null) {
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `A task of ${this.#connection.what} refers to an envelope that is gone from "${key}"; something deleted it`,
      );
    }
    this.#texts.set(reference, text);
  }

  async #store(text: string): Promise<void> {
    this.#storing.add(text);
    try {
      const reference = createHash("sha256").update(text).digest("base64url").slice(0, 16);
      await this.#connection.write("envelope", [reference, text]);
      this.#texts.set(reference, text);
      this.#references.set(text, reference);
    } catch {
      // A full or absent server: tasks carry their envelopes themselves.
      this.#uses.delete(text);
    } finally {
      this.#storing.delete(text);
    }
  }
}
