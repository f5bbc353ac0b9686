// A binary heap of entries with a time, from which entries are removed lazily.

/**
 * Earliest first. An entry that is no longer wanted stays until it surfaces or until such entries are the greater part, so removal
 * costs no search. `live` says whether an entry is still wanted; `less` must be a total order, so that what comes out depends only
 * on what is in, never on the history of the heap (replicas that start from a checkpoint must agree with those that did not).
 */
export class Heap<T> {
  #items: T[] = [];
  #dead = 0;
  readonly #less: (a: T, b: T) => boolean;
  readonly #live: (item: T) => boolean;

  constructor(less: (a: T, b: T) => boolean, live: (item: T) => boolean) {
    this.#less = less;
    this.#live = live;
  }

  /** Entries, those no longer wanted included. */
  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    const items = this.#items;
    let index = items.length;
    items.push(item);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = items[parent] as T;
      if (!this.#less(item, above)) break;
      items[index] = above;
      index = parent;
    }
    items[index] = item;
  }

  /** Says that one entry became unwanted. */
  discarded(): void {
    this.#dead++;
    if (this.#dead > 64 && this.#dead * 2 > this.#items.length) this.#compact();
  }

  /** The earliest entry that is wanted. */
  peek(): T | undefined {
    for (;;) {
      const top = this.#items[0];
      if (top === undefined || this.#live(top)) return top;
      this.#removeTop();
      if (this.#dead > 0) this.#dead--;
    }
  }

  pop(): T | undefined {
    const top = this.peek();
    if (top !== undefined) this.#removeTop();
    return top;
  }

  /** Visits the wanted entries for which `within` holds, in no order; `within` must hold for all that come before one for which it does. */
  visit(within: (item: T) => boolean, visitor: (item: T) => void): void {
    const items = this.#items;
    const pending = [0];
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      const item = items[index];
      if (item === undefined || !within(item)) continue;
      if (this.#live(item)) visitor(item);
      pending.push(2 * index + 1, 2 * index + 2);
    }
  }

  #removeTop(): void {
    const items = this.#items;
    const last = items.pop() as T;
    const length = items.length;
    if (length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#less(items[child + 1] as T, items[child] as T)) child++;
      const below = items[child] as T;
      if (!this.#less(below, last)) break;
      items[index] = below;
      index = child;
    }
    items[index] = last;
  }

  #compact(): void {
    const kept = this.#items.filter(this.#live);
    this.#items = [];
    this.#dead = 0;
    for (const item of kept) this.push(item);
  }
}
