// What a process did, a JSON line each, in a file of its own. Written at once, so that a kill loses nothing that came before it.
// All times are host time (`host-time.ts`) but for `from`, `deadline` and `runAt`, which are by the store's clock.
import { appendFileSync } from "node:fs";
import type { CancelState } from "@omniq/core";

export type Line =
  | {
      readonly kind: "accepted";
      readonly task: string;
      readonly expect: Expected;
      /** When the call was made, and when it was answered. */
      readonly sent: number;
      readonly at: number;
    }
  | {
      readonly kind: "start";
      readonly task: string;
      readonly at: number;
      /** For a delayed task: when it was sent, and the earliest start. */
      readonly since?: number | undefined;
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
      readonly run: number;
      readonly attempt: number;
      readonly expiries: number;
      readonly queue: string;
      readonly priority: number;
      /** It could start as soon as it was enqueued: no delay, no group, no dependencies. */
      readonly plain: boolean;
      readonly group?: string | undefined;
      /** When it began at the earliest. */
      readonly from: number;
      readonly deadline: number;
      readonly runAt: number;
      /** When the claiming command was sent, and when its answer was there. */
      readonly sent: number;
      readonly at: number;
      /** Which answer of this process, and the place in it. */
      readonly call: number;
      readonly index: number;
    }
  /** A heartbeat of the main thread that was told that the lease is held. */
  | {
      readonly kind: "extended";
      readonly task: string;
      readonly token: string;
      readonly sent: number;
      readonly deadline: number;
    }
  /** Written before the settlement is sent. */
  | {
      readonly kind: "settle";
      readonly task: string;
      readonly token: string;
      readonly outcome: Outcome;
      /** Of a release with a delay: when it was sent, and the delay. */
      readonly at?: number | undefined;
      readonly delayMs?: number | undefined;
    }
  /** Answered `settled`. */
  | {
      readonly kind: "settled";
      readonly task: string;
      readonly token: string;
      readonly run: number;
      readonly outcome: Outcome;
    }
  /** A call that took long. */
  | { readonly kind: "call"; readonly verb: string; readonly at: number; readonly ms: number }
  /** Its cancel was asked for, and this was the answer. */
  | { readonly kind: "cancelled"; readonly task: string; readonly state: CancelState; readonly at: number }
  /** A dead letter is about to be retried. */
  | { readonly kind: "retrying"; readonly task: string }
  | { readonly kind: "retried"; readonly task: string };

export type Outcome = "completed" | "failed" | "cancelled" | "retry" | "release";
/** What must become of a task: its output, where `dies` only once it was retried as a dead letter, the code that it fails with, or that it is cancelled. */
export type Expected =
  | { readonly output: unknown; readonly dies?: true }
  | { readonly code: string }
  | { readonly cancelled: true };
/** A line with the process that wrote it. */
export type Noted = Line & { readonly pid: number };
export type Of<Kind extends Line["kind"]> = Extract<Noted, { kind: Kind }>;

let file: string | undefined;

/** Where this process writes. */
export function openJournal(path: string): void {
  file = path;
}

/** One line. Handlers that run without a journal write nothing. */
export function journal(line: Line): void {
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ pid: process.pid, ...line })}\n`);
}
