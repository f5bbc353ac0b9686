// Listens to users' abort signals: one listener a signal, however many calls wait on it, so that no warning of a leak is printed.

const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back once when the signal aborts. Gives what ends the listening. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let all = listeners.get(signal);
  if (all === undefined) {
    const made = new Set<() => void>();
    all = made;
    listeners.set(signal, made);
    const tell = (): void => {
      listeners.delete(signal);
      for (const one of [...made]) one();
    };
    signal.addEventListener("abort", tell, { once: true });
    ends.set(made, () => signal.removeEventListener("abort", tell));
  }
  const own = all;
  const entry = (): void => callback();
  own.add(entry);
  return () => {
    if (!own.delete(entry) || own.size > 0 || listeners.get(signal) !== own) return;
    listeners.delete(signal);
    ends.get(own)?.();
  };
}

const ends = new WeakMap<Set<() => void>, () => void>();
