// A wait that ends: a contestant that loses a task must fail its run, not hang the bench.
let limitMs = 60_000;

/** For a quick run, which has little to wait for. */
export function shortenWaits(): void {
  limitMs = 20_000;
}

/** Rejects after a minute (`shortenWaits`: 20 s), naming what was waited for. */
export async function within<T>(what: string, promise: Promise<T>, more: () => string = () => ""): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`waited ${limitMs / 1_000} s for ${what}; ${more()}`.replace(/; $/, ""))),
      limitMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
