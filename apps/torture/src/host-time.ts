// The one time base of a run: the monotonic clock, which all processes of a host share and which no fault sets.

/** Milliseconds since some moment that is the same for all processes of this host. */
export function hostMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A time by `performance.now()` of this process as host time. */
export function hostMsOf(performanceMs: number): number {
  return performanceMs + hostMs() - performance.now();
}
