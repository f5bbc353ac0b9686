// A list in order of a rising sequence number, for stable pages: items that are gone are skipped, and dropped in bulk.

export interface Sequenced {
  readonly sequence: number;
  gone: boolean;
}

export class SequenceList<T extends Sequenced> {
  #items: T[] = [];
  #gone = 0;

  /** Items that are not gone. */
  get size(): number {
    return this.#items.length - this.#gone;
  }

  /** `item.sequence` must be above that of all before. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Says that one item was marked as gone. */
  removed(): void {
    this.#gone++;
    if (this.#gone > 1_024 && this.#gone * 2 > this.#items.length) {
      this.#items = this.#items.filter((item) => !item.gone);
      this.#gone = 0;
    }
  }

  /** Items with a higher sequence number, in order. The list must not change meanwhile. */
  *after(sequence: number): Generator<T, void, undefined> {
    const items = this.#items;
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((items[middle] as T).sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < items.length; index++) {
      const item = items[index] as T;
      if (!item.gone) yield item;
    }
  }
}
