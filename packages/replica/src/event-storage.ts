// The event storage component over an executor; a tail reads page after page and sleeps when it has caught up.
import type {
  CallOptions,
  EventFilter,
  EventStorage,
  EventStorageCapabilities,
  NewEvent,
  Page,
  PageRequest,
  StoredEvent,
} from "@omniq/core";
import { checkEventFilter, eventNumber, eventsAfter, lastEventCursor } from "./events.ts";
import type { Executor } from "./executor.ts";
import { Lifetime } from "./waiting.ts";

export class ReplicaEventStorage implements EventStorage {
  readonly component = "event-storage";
  readonly backend: object;
  readonly capabilities: EventStorageCapabilities;
  readonly #executor: Executor;
  readonly #lifetime: Lifetime = new Lifetime("event storage");
  readonly #sleepers = new Set<() => void>();
  readonly #unsubscribe: () => void;

  constructor(executor: Executor, capabilities: EventStorageCapabilities, backend: object) {
    this.#executor = executor;
    this.capabilities = capabilities;
    this.backend = backend;
    this.#unsubscribe = executor.subscribe((changes) => {
      if (changes.all || changes.events) for (const wake of [...this.#sleepers]) wake();
    });
  }

  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "appendEvents", events }], options);
  }
  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    this.#lifetime.check(options.signal);
    const [events] = await this.#executor.execute([{ verb: "queryEvents", filter, page }], options);
    return events;
  }

  async *tail(
    filter: EventFilter,
    after: string | "start" | "now",
    options: CallOptions = {},
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const { signal } = options;
    this.#lifetime.check();
    checkEventFilter(filter);
    if (signal?.aborted === true) return;
    // One command, so that whatever was appended anywhere before this call is known here.
    const [last] = await this.#executor.execute([{ verb: "lastEvent" }]);
    let position = after === "start" ? 0 : eventNumber(after === "now" ? last : after);
    while (!this.#ended(signal)) {
      const state = this.#executor.view();
      const seen = lastEventCursor(state);
      const page = eventsAfter(state, filter, position, 256, this.#executor.now());
      for (const event of page.items) {
        yield event;
        if (this.#ended(signal)) return;
      }
      if (page.next !== undefined) position = Number(page.next);
      else {
        // All up to here was looked at, matching or not, so it need not be looked at again.
        position = Math.max(position, eventNumber(seen));
        if (lastEventCursor(this.#executor.view()) === seen) await this.#sleep(signal);
      }
    }
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#lifetime.check(options.signal);
    const [removed] = await this.#executor.execute([{ verb: "sweepEvents", limit }], options);
    return removed;
  }
  async close(): Promise<void> {
    this.#lifetime.end();
    this.#unsubscribe();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #ended(signal: AbortSignal | undefined): boolean {
    return this.#lifetime.closed || signal?.aborted === true;
  }

  #sleep(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(wake);
        forgetEnd();
        resolve();
      };
      this.#sleepers.add(wake);
      const forgetEnd = this.#lifetime.onEnd(signal, wake);
      if (this.#ended(signal)) wake();
    });
  }
}
