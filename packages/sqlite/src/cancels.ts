// Tells who runs a task that its cancel was asked for: in this process at the commit, of other processes at the next look.
import type { Connection } from "./connection.ts";

/** How often the file is looked at while somebody listens: a few microseconds each, unless something was committed. */
const lookMs = 250;
const mostIds = 1_000;

export class Cancels {
  readonly #connection: Connection;
  readonly #listeners = new Set<(taskIds: readonly string[]) => void>();
  #timer: NodeJS.Timeout | undefined;
  #version: number | undefined;
  /** Those of the latest look, so that each is told once. */
  #told: ReadonlySet<string> = new Set();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  listen(listener: (taskIds: readonly string[]) => void): () => void {
    const own = (taskIds: readonly string[]): void => listener(taskIds);
    this.#listeners.add(own);
    this.#timer ??= setInterval(() => this.#look(), lookMs).unref();
    return () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.close();
    };
  }

  tell(taskIds: readonly string[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(taskIds);
      } catch {
        // What a listener does with a hint is its own affair.
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    try {
      const sql = this.#connection.open();
      if (sql.handle.inTransaction) return;
      const version = sql.get<{ data_version: number }>("PRAGMA data_version")?.data_version;
      if (version === this.#version) return;
      this.#version = version;
      const rows = sql.rows<[string]>(
        "SELECT id FROM {p}_tasks INDEXED BY {p}_tasks_cancelling WHERE cancelling = 1 AND state = 4 LIMIT ?",
        mostIds,
      );
      const ids = rows.map(([id]) => id);
      const fresh = ids.filter((id) => !this.#told.has(id));
      this.#told = new Set(ids);
      if (fresh.length > 0) this.tell(fresh);
    } catch {
      // A hint that is missed here comes with the next heartbeat.
    }
  }
}
