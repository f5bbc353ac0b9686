// How many tasks of a queue may start now: pause, the limit of active tasks, and the rate limit.
import type { QueueRecord } from "./state.ts";

// Keeps a quotient that is whole in mathematics from being floored one too low in floating point.
const tolerance = 1e-6;

/** How many may start at `at`. The rate is GCRA in its virtual scheduling form (ITU-T I.371), as `QueueSettings` says. */
export function startAllowance(queue: QueueRecord, at: number): number {
  if (queue.paused) return 0;
  let allowed = Number.POSITIVE_INFINITY;
  if (queue.maxActive !== undefined) allowed = queue.maxActive - queue.counts.active;
  if (queue.rateLimit !== undefined) {
    const { limit, windowMs } = queue.rateLimit;
    const arrival = Math.max(queue.arrival, at);
    allowed = Math.min(allowed, Math.floor((at + windowMs - arrival) / (windowMs / limit) + tolerance));
  }
  return Math.max(0, allowed);
}

/** Charges one start to the rate limit. */
export function chargeStart(queue: QueueRecord, at: number): void {
  if (queue.rateLimit === undefined) return;
  queue.arrival = Math.max(queue.arrival, at) + queue.rateLimit.windowMs / queue.rateLimit.limit;
}

/** When the rate limit lets the next one start; `at` if that is now. */
export function rateOpensAt(queue: QueueRecord, at: number): number {
  if (queue.rateLimit === undefined) return at;
  const { limit, windowMs } = queue.rateLimit;
  return Math.max(at, Math.ceil(queue.arrival + windowMs / limit - windowMs - tolerance));
}
