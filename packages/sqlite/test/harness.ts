// What the tests of this package share: a store in a folder of its own, and short ways to make tasks.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Lease, NewTask, ReserveRequest, TaskQueue } from "@omniq/core";
import { sqlite, sqliteDriver, type SqliteBackend, type SqliteDriverDatabase, type SqliteOptions } from "@omniq/sqlite";

export class Folder {
  readonly path: string = mkdtempSync(join(tmpdir(), "omniq-sqlite-"));
  readonly #backends: SqliteBackend[] = [];
  get file(): string {
    return join(this.path, "queue.db");
  }
  open(options: SqliteOptions = {}): SqliteBackend {
    const backend = sqlite(options.database === undefined ? { databasePath: this.file, ...options } : options);
    this.#backends.push(backend);
    return backend;
  }
  async remove(): Promise<void> {
    for (const backend of this.#backends) await backend.close();
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A file for each namespace of the conformance kit, and an outage: another connection holds the write lock of all of them. */
export class Files {
  readonly #folder: string = mkdtempSync(join(tmpdir(), "omniq-conformance-"));
  readonly #locks: SqliteDriverDatabase[] = [];
  readonly outage = {
    stop: async (): Promise<void> => {
      for (const name of readdirSync(this.#folder).filter((each) => each.endsWith(".db"))) {
        const lock = new (sqliteDriver())(join(this.#folder, name));
        lock.exec("BEGIN IMMEDIATE");
        this.#locks.push(lock);
      }
    },
    start: async (): Promise<void> => {
      for (const lock of this.#locks.splice(0)) lock.close();
    },
  };
  path(namespace: string): string {
    return join(this.#folder, `${namespace}.db`);
  }
  delete(namespace: string): void {
    for (const name of readdirSync(this.#folder).filter((each) => each.startsWith(`${namespace}.db`)))
      rmSync(join(this.#folder, name), { force: true });
  }
  /** Puts bytes where a text belongs. */
  damage(namespace: string, kind: "task" | "result" | "event" | "schedule", id: string): void {
    const [table, key, column] = {
      task: ["tasks", "id", "payload"],
      result: ["past", "task_id", "value"],
      event: ["events", "id", "task_name"],
      schedule: ["schedules", "id", "template"],
    }[kind] as [string, string, string];
    const database = new (sqliteDriver())(this.path(namespace));
    loosen(database);
    const bytes = Buffer.from([0, 255, 1]);
    const prefixes = database.prepare("SELECT name FROM sqlite_master WHERE name LIKE '%!_meta' ESCAPE '!'").all();
    for (const { name } of prefixes as { name: string }[]) {
      const prefix = name.slice(0, -"_meta".length);
      database.prepare(`UPDATE ${prefix}_${table} SET ${column} = ? WHERE ${key} = ?`).run(bytes, id);
    }
    database.close();
  }
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Takes away what keeps columns to their types, as a damaged file does not keep to them. Other connections must be opened afterwards. */
export function loosen(database: SqliteDriverDatabase): void {
  (database as { unsafeMode?: (on: boolean) => void }).unsafeMode?.(true);
  database.pragma("writable_schema = ON");
  database.exec(
    `UPDATE sqlite_master SET sql = replace(replace(replace(sql, 'STRICT, WITHOUT', 'WITHOUT'), ') STRICT', ')'), 'NOT NULL', '')
     WHERE type = 'table' AND sql LIKE '%STRICT%'`,
  );
  database.pragma("writable_schema = RESET");
}

let counter = 0;
export function task(given: Partial<NewTask> = {}): NewTask {
  return {
    id: `t${++counter}`,
    name: "n",
    queue: "q",
    payload: "p",
    envelope: "e",
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 60_000,
    rememberMs: 60_000,
    ...given,
  };
}
export async function enqueue(queue: TaskQueue, ...tasks: NewTask[]): Promise<string[]> {
  const [answer] = await queue.enqueue([{ tasks }]);
  if (answer?.state !== "accepted") throw new Error(`refused: ${JSON.stringify(answer)}`);
  return answer.receipts.map((receipt) => receipt.state);
}
export function reserve(queue: TaskQueue, limit = 10, given: Partial<ReserveRequest> = {}): Promise<readonly Lease[]> {
  return queue.reserve({ queues: ["q"], limit, leaseMs: 30_000, waitMs: 0, worker: "w", ...given });
}
export function ids(leases: readonly { readonly taskId: string }[]): string[] {
  return leases.map((lease) => lease.taskId);
}
export function complete(lease: Lease, value = "v") {
  return {
    taskId: lease.taskId,
    queue: lease.queue,
    token: lease.token,
    run: lease.run,
    attempt: lease.attempt,
    outcome: "completed" as const,
    storeResult: true,
    value,
  };
}

/** Runs `body` in a transaction on a handle of the user's own; rolls back and rejects when it throws or rejects. */
export async function inTransaction(path: string, body: (transaction: unknown) => unknown): Promise<unknown> {
  const database = new (sqliteDriver())(path);
  try {
    database.exec("BEGIN IMMEDIATE");
    try {
      const answer = await body(database);
      database.exec("COMMIT");
      return answer;
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  } finally {
    database.close();
  }
}
