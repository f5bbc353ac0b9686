// The options of the JSON-lines adapter, and their place among those of all adapters.

export interface JsonlOptions {
  /** The file that holds the events; made when it is not there. Its folder must exist. */
  readonly path: string;
  /** How long events are kept, counted from their `at`. Default: 7 days. */
  readonly eventTtlMs?: number | undefined;
}

// So that `{ type: "jsonl", path: "./events.jsonl" }` is known to the compiler wherever this package is imported.
declare module "@omniq/core" {
  interface BackendOptions {
    jsonl: JsonlOptions;
  }
}
