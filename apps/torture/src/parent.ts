// What is asked of the parent process, which keeps the servers and knows the store.

/** `pass-by`: stop the process until what it would read next of the log is deleted. */
export type Request =
  | { readonly kind: "restart"; readonly server: number; readonly crash: boolean; readonly awayMs: number }
  | { readonly kind: "cut"; readonly server: number; readonly awayMs: number }
  | { readonly kind: "clock"; readonly server: number; readonly offMs: number }
  | { readonly kind: "pass-by"; readonly pid: number };

/** The answer has the request's `id`. */
export interface Answer {
  readonly id: number;
  /** Whether the log passed the process by. */
  readonly passed?: boolean;
}

let asked = 0;

/** Asks and waits until it is done. */
export function ask(fault: Request): Promise<Answer> {
  const id = ++asked;
  return new Promise((resolve) => {
    const answered = (message: unknown): void => {
      if ((message as Answer).id !== id) return;
      process.off("message", answered);
      resolve(message as Answer);
    };
    process.on("message", answered);
    process.send?.({ id, fault });
  });
}
