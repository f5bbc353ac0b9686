// The object store in memory: what the contract means, for tests and for `memory://`.
import { OmniQError } from "@omniq/core";
import type { CreateAnswer, ListAnswer, ObjectStore, ReadAnswer, ReplaceAnswer, StoredObject } from "./object-store.ts";

/** The objects that several {@link MemoryObjectStore}s share, each one standing for a client. */
export class MemoryObjects {
  readonly #objects = new Map<string, StoredObject>();
  /** Keys in order, made when it is asked for after keys came or went. */
  #keys: readonly string[] | undefined;
  #revisions = 0;
  readonly #watchers = new Map<() => void, string>();
  readonly #now: () => number;

  /** `now`: the store's clock, in epoch milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }
  now(): number {
    return this.#now();
  }
  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }
  write(key: string, body: Uint8Array): void {
    if (!this.#objects.has(key)) this.#keys = undefined;
    const revision = String(++this.#revisions);
    this.#objects.set(key, { body: body.slice(), revision, lastModified: this.#now() });
    for (const [changed, prefix] of [...this.#watchers]) if (key.startsWith(prefix)) changed();
  }
  delete(key: string): void {
    if (this.#objects.delete(key)) this.#keys = undefined;
  }
  /** All keys, in order. */
  keys(): readonly string[] {
    return (this.#keys ??= [...this.#objects.keys()].sort());
  }
  watch(prefix: string, changed: () => void): () => void {
    const listener = (): void => changed();
    this.#watchers.set(listener, prefix);
    return () => void this.#watchers.delete(listener);
  }
}

/** One client of {@link MemoryObjects}. */
export class MemoryObjectStore implements ObjectStore {
  readonly reach = "process";
  readonly #objects: MemoryObjects;
  #closed = false;

  constructor(objects: MemoryObjects = new MemoryObjects()) {
    this.#objects = objects;
  }

  async read(key: string, maxBytes: number = Number.POSITIVE_INFINITY): Promise<ReadAnswer> {
    this.#check();
    const found = this.#objects.get(key);
    const body = (found?.body.length ?? 0) > maxBytes ? new Uint8Array(0) : found?.body.slice();
    const object = found === undefined || body === undefined ? undefined : { ...found, body };
    return { object, date: this.#objects.now() };
  }
  async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    this.#check();
    const isNew = this.#objects.get(key) === undefined;
    if (isNew) this.#objects.write(key, body);
    return { state: isNew ? "created" : "exists", date: this.#objects.now() };
  }
  async replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer> {
    this.#check();
    const isSame = this.#objects.get(key)?.revision === revision;
    if (isSame) this.#objects.write(key, body);
    return { state: isSame ? "replaced" : "conflict", date: this.#objects.now() };
  }
  async delete(keys: readonly string[]): Promise<void> {
    this.#check();
    for (const key of keys) this.#objects.delete(key);
  }
  async list(prefix: string, after = "", limit: number = Number.POSITIVE_INFINITY): Promise<ListAnswer> {
    this.#check();
    const keys = this.#objects.keys().filter((key) => key.startsWith(prefix) && key > after);
    const objects = keys.slice(0, limit).map((key) => ({ key, lastModified: this.#objects.get(key)?.lastModified }));
    return { objects, date: this.#objects.now() };
  }
  watch(prefix: string, changed: () => void): () => void {
    return this.#objects.watch(prefix, changed);
  }
  async close(): Promise<void> {
    this.#closed = true;
  }

  #check(): void {
    if (this.#closed) throw new OmniQError("OMNIQ_CLOSED", "The store is closed; make a new one to go on");
  }
}
