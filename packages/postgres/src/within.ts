// Waiting that ends: for what may never answer.

/** Resolves when `work` has settled, however, or after `ms`. */
export async function within(work: Promise<unknown> | undefined, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([
    late,
    Promise.resolve(work).then(
      () => {},
      () => {},
    ),
  ]);
  clearTimeout(timer);
}
