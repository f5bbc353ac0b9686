// Waits that end with a signal, and ends that are not waited for longer than a time.

/** The promise, or the reason of the first signal that aborts. What was begun goes on; nobody hears how it ends. */
export function abortable<T>(work: Promise<T>, ...given: readonly (AbortSignal | undefined)[]): Promise<T> {
  const signals = given.filter((signal) => signal !== undefined);
  return new Promise<T>((resolve, reject) => {
    const over = (): void => {
      for (const signal of signals) signal.removeEventListener("abort", aborted);
    };
    const aborted = (): void => {
      over();
      reject(signals.find((signal) => signal.aborted)?.reason as Error);
    };
    for (const signal of signals) signal.addEventListener("abort", aborted, { once: true });
    work.then(
      (value) => {
        over();
        resolve(value);
      },
      (error: unknown) => {
        over();
        reject(error as Error);
      },
    );
    if (signals.some((signal) => signal.aborted)) aborted();
  });
}

/** How long an end waits for a store that does not answer. A close has a few such ends, and two seconds in all. */
const patienceMs = 500;

/** Resolves when the work has ended, however, or after half a second. */
export async function endSoon(work: Promise<unknown> | undefined, ms: number = patienceMs): Promise<void> {
  if (work === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => undefined), enough]);
  clearTimeout(timer);
}
