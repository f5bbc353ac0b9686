// The backend: one connection (here, an open file) and the component that it can make.
import type { BackendBase, BackendReport, EventStorage } from "@omniq/core";
import { OmniQError } from "@omniq/core";
import { EventFile } from "./event-file.ts";
import { JsonlEventStorage } from "./event-storage.ts";
import type { JsonlOptions } from "./options.ts";

/** Has `eventStorage` and no other maker, so it can not be passed for another component. */
export class JsonlBackend implements BackendBase {
  readonly type = "jsonl";
  readonly contract = 1;
  readonly #file: EventFile;
  readonly #events: JsonlEventStorage;

  constructor(options: JsonlOptions) {
    if (typeof options.path !== "string" || options.path.length === 0) {
      throw new OmniQError("OMNIQ_CONFIG_INVALID", "jsonl: path must name the file that holds the events");
    }
    this.#file = EventFile.open(options.path);
    this.#events = new JsonlEventStorage(this, this.#file, options.eventTtlMs);
  }

  /** The same one each time. */
  eventStorage(): EventStorage {
    return this.#events;
  }

  /** `damaged-item`: tells of each line that can not be read, when the file is read. */
  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#file.reports.listen(listener);
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    await this.#file.load();
  }

  async close(): Promise<void> {
    await this.#events.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
