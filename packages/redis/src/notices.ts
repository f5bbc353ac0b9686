// Word of results and cancels: one subscription for each backend. Whoever stored a result sends it to the clients that left word for it. A message
// only wakes, unless it has the nonce that this client left at the server with its word.
import { randomBytes, randomFillSync } from "node:crypto";
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
  readonly #left = new Map<string, { readonly run: number; readonly until: number; readonly nonce: string }>();
  readonly #cancels = new Set<(taskIds: readonly string[]) => void>();
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

  /** Hears of active tasks whose cancel was asked for, until the answer is called. */
  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    const own = (taskIds: readonly string[]): void => listener(taskIds);
    this.#cancels.add(own);
    // Where it fails, heartbeats tell later.
    this.ready().catch(() => undefined);
    return () => void this.#cancels.delete(own);
  }

  /**
   * Word is being left for these, until a time by `performance.now()`: said before it is sent, since an answer may be overtaken by a message.
   * Gives the nonce of each.
   */
  left(references: readonly ResultReference[], until: number): readonly string[] {
    const nonces = references.map(newNonce);
    for (const [index, { taskId, run }] of references.entries()) {
      this.#left.delete(taskId);
      this.#left.set(taskId, { run, until, nonce: nonces[index] as string });
    }
    const now = performance.now();
    for (const [id, word] of this.#left) {
      if (word.until > now) break;
      this.#left.delete(id);
    }
    return nonces;
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
    const [channel, cancels] = [this.#connection.key(this.channel), this.#connection.key("cancel")];
    const subscribe = (): Promise<unknown> => link.send((own) => own.subscribe(channel, cancels));
    const client = link.client as { on(event: string, listener: (...args: never[]) => void): unknown };
    client.on("message", (from: string, text: string) => {
      if (from === cancels) this.#cancelled(text);
      else this.#heard(text);
    });
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

  /** A message, as the scripts' `notify` makes it. Anybody may have sent it. */
  #heard(text: string): void {
    const end = text.indexOf("\0\0");
    const head = text.slice(0, Math.max(0, end)).split("\0");
    const lengths: number[] = [];
    for (let at = 2; at < head.length; at += 3) {
      if (head[at] === "-") continue;
      const length = Number(head[at]);
      if (!Number.isSafeInteger(length) || length < 0 || length > text.length * 3) return;
      lengths.push(length);
    }
    const records = cut(text.slice(end + 2), lengths);
    for (let at = 0, next = 0; at + 2 < head.length; at += 3) {
      const id = head[at] as string;
      const record = head[at + 2] === "-" ? undefined : records[next++];
      const known = this.#left.get(id)?.nonce === head[at + 1];
      this.#left.delete(id);
      for (const wake of this.#waiters.get(id) ?? []) wake(id, known ? record : undefined);
    }
  }

  #cancelled(text: string): void {
    const ids = text.split("\0", mostCancels);
    for (const listener of this.#cancels) {
      try {
        listener(ids);
      } catch {
        // A hint that its listener cannot use is no reason to lose the others.
      }
    }
  }
}

/** What one message may tell. */
const mostCancels = 1_000;
const nonceBytes = 6;
const pool = Buffer.allocUnsafe(nonceBytes * 1_024);
let used = pool.length;
function newNonce(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += nonceBytes;
  return pool.toString("base64url", used - nonceBytes, used);
}
