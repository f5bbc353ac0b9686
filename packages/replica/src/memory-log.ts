// An ordered log in memory: what the contract means, and a place for tests to break it.
import type { AppendAnswer, LogCheckpoint, LogEntry, OrderedLog, ReadAnswer } from "./ordered-log.ts";

/**
 * - `lose`: it is stored, but the answer is `unknown`. - `drop`: it is not stored, and the answer is `unknown`.
 * - `late`: the answer is `unknown` at once; it is stored on the next append, if its place is still free.
 * - `stale`: it is not stored; the process must open again. - `lose-stale`: it is stored, and the process must open again.
 */
export type AppendFault = "lose" | "drop" | "late" | "stale" | "lose-stale";

/** The store that several {@link MemoryLog}s share, each one standing for a process. */
export class MemoryLogStore {
  readonly entries: LogEntry[] = [];
  checkpoint: LogCheckpoint | undefined;
  /** The one before it. */
  before: LogCheckpoint | undefined;
  /** The position of the first commit that is still there. */
  first = 1;
  clock: () => number = Date.now;
  /** Asked at every append. */
  fault: (position: number) => AppendFault | undefined = () => undefined;
  /** Runs before every append, so that another one can come first. */
  beforeAppend: () => Promise<void> = async () => {};
  readonly #late: LogEntry[] = [];
  readonly #wakers = new Set<() => void>();

  get last(): number {
    return this.first + this.entries.length - 1;
  }

  store(ordering: OrderedLog["ordering"], entry: LogEntry): number | undefined {
    const position = ordering === "server" ? this.last + 1 : entry.position;
    if (position !== this.last + 1) return undefined;
    this.entries.push(ordering === "server" ? { ...entry, position, storedAt: this.clock() } : entry);
    for (const wake of [...this.#wakers]) wake();
    return position;
  }
  keepLate(entry: LogEntry): void {
    this.#late.push(entry);
  }
  landLate(ordering: OrderedLog["ordering"]): void {
    for (const entry of this.#late.splice(0)) this.store(ordering, entry);
  }
  /** Deletes commits up to a position, as checkpoints allow. */
  deleteUpTo(position: number): void {
    while (this.entries.length > 0 && this.first <= position) {
      this.entries.shift();
      this.first++;
    }
  }
  onStored(wake: () => void): () => void {
    this.#wakers.add(wake);
    return () => void this.#wakers.delete(wake);
  }
}

/** One process's view of a {@link MemoryLogStore}. */
export class MemoryLog implements OrderedLog {
  readonly ordering: OrderedLog["ordering"];
  readonly #store: MemoryLogStore;

  constructor(store: MemoryLogStore, ordering: OrderedLog["ordering"] = "position") {
    this.#store = store;
    this.ordering = ordering;
  }

  async append(position: number, body: string): Promise<AppendAnswer> {
    await this.#store.beforeAppend();
    this.#store.landLate(this.ordering);
    const fault = this.#store.fault(position);
    const entry: LogEntry = { position, body };
    if (fault === "late") this.#store.keepLate(entry);
    if (fault === "late" || fault === "drop") return { state: "unknown" };
    if (fault === "stale" || (this.ordering === "position" && position < this.#store.first)) return { state: "stale" };
    const stored = this.#store.store(this.ordering, entry);
    if (fault === "lose") return { state: "unknown" };
    if (fault === "lose-stale") return { state: "stale" };
    return stored === undefined ? { state: "taken" } : { state: "stored", position: stored };
  }

  async read(position: number): Promise<ReadAnswer> {
    const { first, entries } = this.#store;
    if (position < first) return { state: "stale" };
    return { state: "read", entries: entries.slice(position - first, position - first + 100) };
  }
  async readCheckpoint(below: number = Number.POSITIVE_INFINITY): Promise<LogCheckpoint | undefined> {
    const { checkpoint, before } = this.#store;
    return [checkpoint, before].find((each) => each !== undefined && each.position < below);
  }
  async writeCheckpoint(checkpoint: LogCheckpoint): Promise<void> {
    const before = this.#store.checkpoint;
    if (before !== undefined && before.position >= checkpoint.position) return;
    this.#store.checkpoint = checkpoint;
    this.#store.before = before;
    if (before !== undefined) this.#store.deleteUpTo(before.position);
  }
  now(): number {
    return this.#store.clock();
  }
  wait(position: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#store.last > position) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        forget();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const forget = this.#store.onStored(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
  async close(): Promise<void> {}
}
