// Results and events over several logs: each is where its task is, so that a settlement is one message.
import { OmniQError } from "@omniq/core";
import type {
  CallOptions,
  EventFilter,
  EventStorage,
  EventStorageCapabilities,
  NewEvent,
  NewResult,
  Page,
  PageRequest,
  ResultFilter,
  ResultReference,
  ResultStorage,
  ResultStorageCapabilities,
  StoredEvent,
  StoredResult,
} from "@omniq/core";
import { queryCursor } from "@omniq/replica";
import { firstOf, pageOver, type Partitions } from "./partitions.ts";

export class PartitionedResultStorage implements ResultStorage {
  readonly component = "result-storage";
  readonly backend: object;
  readonly capabilities: ResultStorageCapabilities;
  readonly #parts: readonly ResultStorage[];
  readonly #partitions: Partitions;

  constructor(parts: readonly ResultStorage[], partitions: Partitions, backend: object) {
    this.#parts = parts;
    this.#partitions = partitions;
    this.capabilities = (parts[0] as ResultStorage).capabilities;
    this.backend = backend;
  }

  async put(results: readonly NewResult[], options: CallOptions = {}): Promise<readonly StoredResult[]> {
    return await this.#partitions.spread(
      results,
      ({ queue }) => queue,
      (partition, own) => (this.#parts[partition] as ResultStorage).put(own, options),
    );
  }
  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredResult | undefined)[]> {
    const answers = await Promise.all(this.#parts.map((part) => part.get(ids, options)));
    return ids.map((_, index) => answers.find((own) => own[index] !== undefined)?.[index]);
  }
  async wait(
    references: readonly ResultReference[],
    waitMs: number,
    options: CallOptions = {},
  ): Promise<readonly StoredResult[]> {
    return await firstOf(
      this.#parts.map((part) => (signal: AbortSignal) => part.wait(references, waitMs, { ...options, signal })),
      options.signal,
    );
  }
  async delete(ids: readonly string[], options: CallOptions = {}): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.delete(ids, options)));
  }
  async list(filter: ResultFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredResult>> {
    return await pageOver(this.#parts.length, page, (partition, inner) =>
      (this.#parts[partition] as ResultStorage).list(filter, inner, options),
    );
  }
  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    const removed = await Promise.all(this.#parts.map((part) => part.sweep(limit, options)));
    return removed.reduce((sum, count) => sum + count, 0);
  }
  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * A cursor names, for each partition, behind which event it goes on; those that it does not name begin at their start. So a tail misses nothing, and
 * one that goes on from an event of `query` gives what that query had not given yet.
 */
export class PartitionedEventStorage implements EventStorage {
  readonly component = "event-storage";
  readonly backend: object;
  readonly capabilities: EventStorageCapabilities;
  readonly #parts: readonly EventStorage[];
  readonly #partitions: Partitions;

  constructor(parts: readonly EventStorage[], partitions: Partitions, backend: object) {
    this.#parts = parts;
    this.#partitions = partitions;
    this.capabilities = (parts[0] as EventStorage).capabilities;
    this.backend = backend;
  }

  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    await this.#partitions.spread(
      events,
      ({ queue }) => queue,
      async (partition, own) => {
        await (this.#parts[partition] as EventStorage).append(own, options);
        return [];
      },
    );
  }
  /** The events of each partition in their order, the partitions merged by the events' times. */
  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    const { limit = 100, cursor } = page;
    const key = queryCursor(filter);
    if (cursor !== undefined && !cursor.startsWith(key)) throw foreignCursor();
    const positions =
      cursor === undefined ? new Map<number, string>() : readCursor(cursor.slice(key.length), this.#parts.length);
    const heads = await Promise.all(
      this.#concerned(filter).map(async (index) => {
        const after = positions.get(index);
        const inner = { limit, cursor: after === undefined ? undefined : queryCursor(filter, after) };
        const found = await (this.#parts[index] as EventStorage).query(filter, inner, options);
        return { index, items: found.items, next: 0, more: found.next !== undefined };
      }),
    );
    const items: StoredEvent[] = [];
    while (items.length < limit) {
      let first: (typeof heads)[number] | undefined;
      for (const head of heads) {
        const event = head.items[head.next];
        if (event !== undefined && (first === undefined || event.at < (first.items[first.next] as StoredEvent).at))
          first = head;
      }
      if (first === undefined) break;
      const event = first.items[first.next++] as StoredEvent;
      positions.set(first.index, event.cursor);
      items.push({ ...event, cursor: writeCursor(positions) });
    }
    const more = heads.some((head) => head.more || head.next < head.items.length);
    return more ? { items, next: `${key}${writeCursor(positions)}` } : { items };
  }

  async *tail(
    filter: EventFilter,
    after: string | "start" | "now",
    options: CallOptions = {},
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const wanted = this.#concerned(filter);
    const begin = after === "start" || after === "now" ? undefined : readCursor(after, this.#parts.length);
    const positions = new Map(begin);
    const ended = new AbortController();
    const signal = options.signal === undefined ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
    const tails = new Map(
      wanted.map((index) => {
        const from = begin === undefined ? after : (begin.get(index) ?? "start");
        const tail = (this.#parts[index] as EventStorage).tail(filter, from, { signal });
        return [index, tail[Symbol.asyncIterator]()] as const;
      }),
    );
    const step = async (index: number) => ({ index, next: await tails.get(index)!.next() });
    const steps = new Map(wanted.map((index) => [index, step(index)]));
    try {
      while (steps.size > 0) {
        const { index, next } = await Promise.race(steps.values());
        if (next.done === true) steps.delete(index);
        else {
          positions.set(index, next.value.cursor);
          steps.set(index, step(index));
          yield { ...next.value, cursor: writeCursor(positions) };
        }
      }
    } finally {
      ended.abort();
      await Promise.allSettled(steps.values());
    }
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    const removed = await Promise.all(this.#parts.map((part) => part.sweep(limit, options)));
    return removed.reduce((sum, count) => sum + count, 0);
  }
  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #concerned({ queue }: EventFilter): readonly number[] {
    return queue === undefined ? this.#parts.map((_, index) => index) : [this.#partitions.of(queue)];
  }
}

function writeCursor(positions: ReadonlyMap<number, string>): string {
  return `p${[...positions].map(([index, cursor]) => `${index}:${cursor}`).join(",")}`;
}
function readCursor(cursor: string, count: number): Map<number, string> {
  const found = /^p\d+:[^,:]+(?:,\d+:[^,:]+)*$/.test(cursor)
    ? cursor
        .slice(1)
        .split(",")
        .map((each): [number, string] => [Number(each.split(":")[0]), each.split(":")[1] as string])
    : [];
  if (found.length === 0 || found.some(([index]) => index >= count)) throw foreignCursor();
  return new Map(found);
}
function foreignCursor(): OmniQError {
  return new OmniQError(
    "OMNIQ_INVALID_OPTION",
    "The cursor is not one of an event, or of a query with this filter, of this storage",
  );
}
