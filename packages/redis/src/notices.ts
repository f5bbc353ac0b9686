// Word of results: one subscription for each backend; whoever stored a result sends it to the clients that left word for it.
import { randomBytes } from "node:crypto";
import type { ResultReference } from "@omniq/core";
import { cut } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Link } from "./link.ts";

/** Told that a task has a result: its record, or nothing where it must be looked for. */
type Wake = (id: string, record: string | undefined) => void;

export class Notices {
  /** Where this client is told, without the prefix. */
  readonly channel: string = `n:${randomBytes(9).toString("base64url")}`;
  readonly #connection: Connection;
  /** Arrays are not changed: that of a call is shared by its tasks. */
  readonly #waiters = new Map<string, readonly Wake[]>();
  /** Tasks for whose results, from a run on, word was left at the server, and until when it holds; the oldest first. */
  readonly #left = new Map<string, { readonly run: number; readonly until: number }>();
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
  listen(ids: readonly string[], wake: Wake): () => void {
    const own = [wake];
    for (const id of ids) {
      const others = this.#waiters.get(id);
      this.#waiters.set(id, others === undefined ? own : [...others, wake]);
    }
    return () => {
      for (const id of ids) {
        const all = this.#waiters.get(id) ?? own;
        const others = all === own ? [] : all.filter((one) => one !== wake);
        if (others.length === 0) this.#waiters.delete(id);
        else this.#waiters.set(id, others);
      }
    };
  }

  /** Word is being left for these, until a time by `performance.now()`: said before it is sent, since an answer may be overtaken by a message. */
  left(references: readonly ResultReference[], until: number): void {
    for (const { taskId, run } of references) {
      this.#left.delete(taskId);
      this.#left.set(taskId, { run, until });
    }
    const now = performance.now();
    for (const [id, word] of this.#left) {
      if (word.until > now) break;
      this.#left.delete(id);
    }
  }

  /** No word was left for these after all: whoever relies on it looks. */
  forget(ids: Iterable<string>): void {
    for (const id of ids) {
      this.#left.delete(id);
      for (const wake of this.#waiters.get(id) ?? []) wake(id, undefined);
    }
  }

  /** Until when word of a result would arrive without asking the server again; 0: it must be asked. */
  heardUntil({ taskId, run }: ResultReference): number {
    const word = this.#left.get(taskId);
    // Where there was none of a higher run, there may have been this one.
    return word === undefined || word.run > run ? 0 : word.until;
  }

  /** Lets go of the connection. */
  release(): void {
    if (this.#link !== undefined) this.#connection.drop(this.#link);
    this.#link = undefined;
    this.#subscribing = undefined;
    this.#left.clear();
  }

  async #subscribe(): Promise<void> {
    const link = this.#connection.another();
    this.#link = link;
    const channel = this.#connection.key(this.channel);
    const subscribe = (): Promise<unknown> => link.send((own) => own.subscribe(channel));
    const client = link.client as { on(event: string, listener: (...args: never[]) => void): unknown };
    client.on("message", (_channel: string, text: string) => this.#heard(text));
    await subscribe();
    // Words that were said while the connection was broken are lost: all look again. The client subscribes again by itself, but does not
    // say when it has.
    link.onReady(
      () =>
        void subscribe().then(
          () => this.forget(this.#waiters.keys()),
          () => undefined,
        ),
    );
  }

  /** A message, as the scripts' `notify` makes it. */
  #heard(text: string): void {
    const end = text.indexOf("\0\0");
    const head = text.slice(0, end).split("\0");
    const lengths: number[] = [];
    for (let at = 1; at < head.length; at += 2) if (head[at] !== "-") lengths.push(Number(head[at]));
    const records = cut(text.slice(end + 2), lengths);
    for (let at = 0, next = 0; at + 1 < head.length; at += 2) {
      const id = head[at] as string;
      const record = head[at + 1] === "-" ? undefined : records[next++];
      this.#left.delete(id);
      for (const wake of this.#waiters.get(id) ?? []) wake(id, record);
    }
  }
}
