// Calls that are made again while a server is away.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError } from "@omniq/core";

/** Repeats a call that may be repeated for as long as its error is retryable, at most a minute. */
export async function patiently<T>(call: () => Promise<T>): Promise<T> {
  const until = performance.now() + 60_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isOmniQError(error) || !error.retryable || performance.now() > until) throw error;
      await sleep(100);
    }
  }
}
