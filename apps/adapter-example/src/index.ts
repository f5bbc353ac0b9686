// OmniQ events in a file of JSON lines: the adapter.
import { defineAdapter, type Adapter } from "@omniq/core";
import { JsonlBackend } from "./backend.ts";
import type { JsonlOptions } from "./options.ts";

export type { JsonlBackend } from "./backend.ts";
export type { JsonlOptions } from "./options.ts";

/** Makes backends with one component, the event storage: `new OmniQ({ ..., eventStorage: jsonl({ path: "./events.jsonl" }) })`. */
export const jsonl: Adapter<"jsonl", JsonlOptions, JsonlBackend> = defineAdapter({
  type: "jsonl",
  contract: 1,
  options: { path: "path", eventTtlMs: "integer" },
  create: (options: JsonlOptions) => new JsonlBackend(options),
});
/** The name under which the configuration and the conformance kit look for it. */
export { jsonl as adapter };
