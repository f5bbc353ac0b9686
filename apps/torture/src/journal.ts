// What a process did, a JSON line each, in a file of its own. Written at once, so that a kill loses nothing that came before it.
import { appendFileSync } from "node:fs";

export type Line =
  | { readonly kind: "accepted"; readonly task: string; readonly expect: Expected }
  | {
      readonly kind: "start";
      readonly task: string;
      readonly at: number;
      readonly notBefore?: number | undefined;
      readonly group?: string | undefined;
    }
  | {
      readonly kind: "end";
      readonly task: string;
      readonly at: number;
      readonly started: number;
      readonly group?: string | undefined;
    }
  | {
      readonly kind: "lease";
      readonly task: string;
      readonly token: string;
      /** Both by the store's clock. */
      readonly from: number;
      readonly deadline: number;
      readonly expiries: number;
      readonly group?: string | undefined;
    }
  | { readonly kind: "settle"; readonly task: string; readonly token: string }
  | { readonly kind: "call"; readonly verb: string; readonly at: number; readonly ms: number };
/** The output that a task must have, or the code that it must fail with. */
export type Expected = { readonly output: unknown } | { readonly code: string };

let file: string | undefined;

/** Where this process writes. */
export function openJournal(path: string): void {
  file = path;
}

/** One line. Handlers that run without a journal write nothing. */
export function journal(line: Line): void {
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ pid: process.pid, ...line })}\n`);
}
