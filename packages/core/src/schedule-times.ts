// Times at which schedules are known to come, so that whoever ticks them wakes for each and need not look all the time.

/** More are not kept; what is left out is found by the look that comes every second. */
const maxTimes = 100_000;

/** A binary heap of times. */
export class ScheduleTimes {
  readonly #heap: number[] = [];

  /** Takes a time on. */
  add(time: number): void {
    const heap = this.#heap;
    if (heap.length >= maxTimes) return;
    heap.push(time);
    for (let at = heap.length - 1; at > 0;) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as number) <= (heap[at] as number)) break;
      [heap[parent], heap[at]] = [heap[at] as number, heap[parent] as number];
      at = parent;
    }
  }

  /** The earliest time after `now`; those before it are forgotten. */
  after(now: number): number {
    while (this.#heap.length > 0 && (this.#heap[0] as number) <= now) this.#pop();
    return this.#heap[0] ?? Number.POSITIVE_INFINITY;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as number;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ;) {
      let child = 2 * at + 1;
      if (child >= heap.length) return;
      if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[at] as number) <= (heap[child] as number)) return;
      [heap[child], heap[at]] = [heap[at] as number, heap[child] as number];
      at = child;
    }
  }
}
