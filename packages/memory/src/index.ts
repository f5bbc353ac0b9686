// @omniq/memory: all four components in the memory of one process.
import { defineAdapter, type Adapter } from "@omniq/core";
import { MemoryBackend } from "./backend.ts";
import { optionsFromUrl, type MemoryOptions } from "./options.ts";

/**
 * Makes a memory backend: `memory()`, or `memory({ name: "shared" })` for one that others of this process can open by name.
 * Nothing survives the process. Wrong options are `OMNIQ_INVALID_OPTION`.
 */
export const memory: Adapter<"memory", MemoryOptions | void, MemoryBackend> = defineAdapter<
  "memory",
  MemoryBackend,
  MemoryOptions | void
>({
  type: "memory",
  contract: 1,
  options: { name: "string", now: "code", eventTtlMs: "integer" },
  fromUrl: optionsFromUrl,
  create: (options) => new MemoryBackend(options ?? {}),
});
export { memory as adapter };
export type { MemoryBackend } from "./backend.ts";
export type { MemoryOptions } from "./options.ts";
