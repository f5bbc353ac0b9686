// Which queues share a log, and what the components that span several logs have in common.
import { OmniQError } from "@omniq/core";
import type { Page, PageRequest } from "@omniq/core";

/** The partition of the queues that no other one lists, and of schedules. */
export const defaultPartition = "default";

/** The partitions of a namespace. Each has a log of its own. */
export class Partitions {
  /** In the order of the option, the default one last. */
  readonly names: readonly string[];
  /** What the namespace's first log carries, so that processes with other partitions notice; undefined for one partition. */
  readonly layout: string | undefined;
  readonly #ofQueue: ReadonlyMap<string, number>;

  constructor(given: Readonly<Record<string, readonly string[]>> = {}) {
    const named = Object.entries(given).filter(([name]) => name !== defaultPartition);
    this.names = [...named.map(([name]) => name), defaultPartition];
    this.#ofQueue = new Map(named.flatMap(([, queues], index) => queues.map((queue) => [queue, index] as const)));
    const sorted = named
      .map(([name, queues]) => [name, queues.toSorted()] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    this.layout = named.length === 0 ? undefined : JSON.stringify(Object.fromEntries(sorted));
  }

  /** The index of a queue's partition. */
  of(queue: string): number {
    return this.#ofQueue.get(queue) ?? this.names.length - 1;
  }

  /** Runs `work` on the items of each partition and puts the answers back into the order of the items. */
  async spread<T, A>(
    items: readonly T[],
    queueOf: (item: T) => string,
    work: (partition: number, items: readonly T[]) => Promise<readonly A[]>,
  ): Promise<readonly A[]> {
    const groups = new Map<number, number[]>();
    for (const [index, item] of items.entries()) {
      const partition = this.of(queueOf(item));
      const group = groups.get(partition);
      if (group === undefined) groups.set(partition, [index]);
      else group.push(index);
    }
    const answers: A[] = Array.from({ length: items.length });
    await Promise.all(
      [...groups].map(async ([partition, indexes]) => {
        const own = await work(
          partition,
          indexes.map((index) => items[index] as T),
        );
        for (const [at, index] of indexes.entries()) answers[index] = own[at] as A;
      }),
    );
    return answers;
  }
}

/** A list over all partitions: one after the other, in stable pages. A cursor is the partition's index and the cursor within. */
export async function pageOver<T>(
  count: number,
  request: PageRequest,
  read: (partition: number, page: PageRequest) => Promise<Page<T>>,
): Promise<Page<T>> {
  const [, index = "0", inner] = /^(\d+)\/(.*)$/s.exec(request.cursor ?? "0/") ?? [];
  const cursor = request.cursor;
  if (cursor !== undefined && (inner === undefined || Number(index) >= count)) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      "The cursor does not belong to this list; pass what `next` of the same list, with the same filter, gave",
    );
  }
  const limit = request.limit ?? 100;
  const items: T[] = [];
  let within = inner === "" ? undefined : inner;
  for (let partition = Number(index); partition < count; partition++) {
    const page = await read(partition, { limit: items.length === 0 ? limit : limit - items.length, cursor: within });
    items.push(...page.items);
    if (page.next !== undefined) return { items, next: `${partition}/${page.next}` };
    within = undefined;
    // Whether anything follows is for the next page to find out.
    if (items.length >= limit && partition + 1 < count) return { items, next: `${partition + 1}/` };
  }
  return { items };
}

/** The first of several waits that brings something ends the others; what those bring all the same comes along. */
export async function firstOf<T>(
  waits: readonly ((signal: AbortSignal) => Promise<readonly T[]>)[],
  signal: AbortSignal | undefined,
): Promise<readonly T[]> {
  const enough = new AbortController();
  const end = (): void => enough.abort(signal?.reason);
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted === true) end();
  let failure: { readonly reason: unknown } | undefined;
  const found = await Promise.all(
    waits.map(async (wait) => {
      try {
        const items = await wait(enough.signal);
        if (items.length > 0) enough.abort();
        return items;
      } catch (reason) {
        // Those that were ended reject too; the first to fail by itself ends the others.
        if (!enough.signal.aborted) {
          failure = { reason };
          enough.abort();
        }
        return [];
      }
    }),
  );
  signal?.removeEventListener("abort", end);
  const items = found.flat();
  if (items.length > 0) return items;
  signal?.throwIfAborted();
  if (failure !== undefined) throw failure.reason;
  return items;
}
