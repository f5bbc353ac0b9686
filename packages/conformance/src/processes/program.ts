// What a program of a child process works with.
import type { AnyBackend } from "../suite.ts";

export interface ProgramWorld {
  readonly backend: AnyBackend;
  readonly data: unknown;
  /** A line to the parent; resolves when it is written. */
  say(line: unknown): Promise<void>;
}

/** Its value is the answer to the parent; it must survive JSON. */
export type Program = (world: ProgramWorld) => Promise<unknown>;

/** One clock for all processes of the host, in fractions of a millisecond. */
export function stamp(): number {
  return performance.timeOrigin + performance.now();
}

/** Dies as if the power had gone: no handler runs, nothing is flushed. */
export async function die(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise<never>(() => undefined);
}
