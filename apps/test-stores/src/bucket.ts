// A bucket in memory: objects with revisions, conditional writes, ordered lists. What both stand-ins keep their objects in.
import { createHash } from "node:crypto";

/** An object as it is stored. It never changes: a write puts a new one in its place. */
export interface StoredObject {
  readonly key: string;
  readonly body: Buffer;
  /** MD5 of the body in hex: the revision of S3. */
  readonly etag: string;
  /** Differs for every write of the bucket: the revision of Google Cloud Storage. */
  readonly generation: number;
  /** Epoch milliseconds, whole seconds: HTTP dates have no more. */
  readonly lastModified: number;
}

/** What must hold for a write to happen. `absent`: nothing is there. `match`: what is there passes. */
export type Condition = "absent" | { readonly match: (object: StoredObject) => boolean } | undefined;

export interface ListedPage {
  readonly objects: readonly StoredObject[];
  /** The key to go on after, where there is more. */
  readonly next: string | undefined;
}

/** Checks and writes are one step: nothing is awaited in between, so racing conditional writes have one winner. */
export class Bucket {
  readonly #objects = new Map<string, StoredObject>();
  /** Keys in byte order. */
  readonly #keys: string[] = [];
  readonly #now: () => number;
  #generation = 1_700_000_000_000_000;

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  /** Writes, or answers `refused` where the condition does not hold and `missing` where it needs an object that is not there. */
  put(key: string, body: Buffer, condition: Condition): StoredObject | "refused" | "missing" {
    const old = this.#objects.get(key);
    if (condition === "absent" && old !== undefined) return "refused";
    if (typeof condition === "object") {
      if (old === undefined) return "missing";
      if (!condition.match(old)) return "refused";
    }
    const etag = createHash("md5").update(body).digest("hex");
    const lastModified = Math.floor(this.#now() / 1_000) * 1_000;
    const object = { key, body, etag, generation: (this.#generation += 1), lastModified };
    this.#objects.set(key, object);
    if (old === undefined) this.#keys.splice(this.#position(key), 0, key);
    return object;
  }

  delete(key: string): boolean {
    if (!this.#objects.delete(key)) return false;
    this.#keys.splice(this.#position(key), 1);
    return true;
  }

  /** Keys with the prefix from `from` on, `from` itself only where `inclusive`. */
  list(prefix: string, from: string, inclusive: boolean, limit: number): ListedPage {
    const objects: StoredObject[] = [];
    for (let i = this.#position(from > prefix ? from : prefix); i < this.#keys.length; i += 1) {
      const key = this.#keys[i] as string;
      if (!key.startsWith(prefix)) break;
      if (key === from && !inclusive) continue;
      if (objects.length === limit) return { objects, next: objects.at(-1)?.key };
      objects.push(this.#objects.get(key) as StoredObject);
    }
    return { objects, next: undefined };
  }

  /** The first position whose key is not below `key`. Keys are ASCII, whose code units are in byte order. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
