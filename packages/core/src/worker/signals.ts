// SIGINT and SIGTERM for all workers of a process by one listener each, since a listener for each worker looks like a leak from ten on.

const listeners = new Set<() => void>();
function told(): void {
  for (const listener of [...listeners]) listener();
}

/** Calls the listener at each such signal. Gives what ends it; when the last has ended, signals do again what they do by default. */
export function onStopSignal(listener: () => void): () => void {
  const own = (): void => listener();
  if (listeners.size === 0) {
    process.on("SIGINT", told);
    process.on("SIGTERM", told);
  }
  listeners.add(own);
  return () => {
    if (!listeners.delete(own) || listeners.size > 0) return;
    process.off("SIGINT", told);
    process.off("SIGTERM", told);
  };
}
