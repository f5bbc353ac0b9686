// A wait that ends: a contestant that loses a task must fail its run, not hang the bench.
const limitMs = 60_000;

/** Rejects after a minute, naming what was waited for. */
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
