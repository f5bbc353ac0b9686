// What the memory backend can be told.
import { OmniQError } from "@omniq/core";

/** Options of {@link memory}. */
export interface MemoryOptions {
  /** Backends of this process with the same name share one state, as long as one of them is open. Without a name it is alone. */
  readonly name?: string;
  /** The store's clock, in epoch milliseconds. Default: the system's. The first backend of a name decides. */
  readonly now?: () => number;
  /** How long events are kept, in milliseconds from `at`. Default: seven days. The first backend of a name decides. */
  readonly eventTtlMs?: number;
}

declare module "@omniq/core" {
  interface BackendOptions {
    memory: MemoryOptions;
  }
}

/** The name in `memory://name` (percent-encoded where it must be); `memory://` is a backend of its own. */
export function optionsFromUrl(url: string): MemoryOptions {
  const written = url.replace(/^[a-z]+:(\/\/)?/i, "").replace(/\/$/, "");
  let name: string;
  try {
    name = decodeURIComponent(written);
  } catch (cause) {
    throw new OmniQError(
      "OMNIQ_CONFIG_INVALID",
      "The name in a memory:// URL is not percent-encoded UTF-8; encode it with encodeURIComponent",
      { cause },
    );
  }
  return name === "" ? {} : { name };
}
