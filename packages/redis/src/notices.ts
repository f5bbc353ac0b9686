// Word of results: one subscription for each backend; whoever stored a result tells the clients that left word for it.
import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import type { Link } from "./link.ts";

export class Notices {
  /** Where this client is told, without the prefix. */
  readonly channel: string = `n:${randomBytes(9).toString("base64url")}`;
  readonly #connection: Connection;
  readonly #waiters = new Map<string, Set<() => void>>();
  #link: Link | undefined;
  #subscribing: Promise<void> | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Resolves when word would arrive. */
  ready(): Promise<void> {
    this.#subscribing ??= this.#subscribe().catch((error: unknown) => {
      this.release();
      throw error;
    });
    return this.#subscribing;
  }

  /** Calls `wake` at each word of one of these tasks, until the answer is called. */
  listen(ids: readonly string[], wake: () => void): () => void {
    for (const id of ids) {
      const set = this.#waiters.get(id);
      if (set === undefined) this.#waiters.set(id, new Set([wake]));
      else set.add(wake);
    }
    return () => {
      for (const id of ids) {
        const set = this.#waiters.get(id);
        set?.delete(wake);
        if (set?.size === 0) this.#waiters.delete(id);
      }
    };
  }

  /** Lets go of the connection. */
  release(): void {
    if (this.#link !== undefined) this.#connection.drop(this.#link);
    this.#link = undefined;
    this.#subscribing = undefined;
  }

  async #subscribe(): Promise<void> {
    const link = this.#connection.another();
    this.#link = link;
    const channel = this.#connection.key(this.channel);
    const client = link.client as { on(event: string, listener: (...args: never[]) => void): unknown };
    client.on("message", (_channel: string, text: string) => {
      for (const id of text.split("\0")) for (const wake of this.#waiters.get(id) ?? []) wake();
    });
    await link.send(async (own) => own.subscribe(channel));
    // Words that were said while the connection was broken are lost: all look again.
    link.onReady(() => {
      for (const set of this.#waiters.values()) for (const wake of set) wake();
    });
  }
}
