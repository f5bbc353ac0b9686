// How a thread or process that ran a task ended, in words: exit code, signal, out of memory, or what it threw where nobody caught it.
import type { ChildProcess } from "node:child_process";
import type { Worker as Thread } from "node:worker_threads";
import { describeThrown } from "./error-copy.ts";
import type { Tinypool } from "tinypool";

/** What the pool keeps of a thread or process; `channel` is that of the attempt which it was given last. */
interface Member {
  readonly thread?: Thread;
  readonly process?: ChildProcess;
  readonly channel?: unknown;
}
/** How long the news of an end may take after its ports have closed. */
const newsMs = 1_000;

export class RemoteEnds {
  readonly #pool: Tinypool;
  readonly #kind: "thread" | "process";
  readonly #ended = new WeakMap<Member, Promise<{ readonly code: number | null; readonly signal: string | null }>>();

  constructor(pool: Tinypool, kind: "thread" | "process") {
    this.#pool = pool;
    this.#kind = kind;
  }

  /** The thread or process that the attempt with this channel was given to, once it was. */
  find(channel: object): Member | undefined {
    const members = this.#pool.threads as unknown as readonly Member[];
    const member = members.find((one) => one.channel === channel);
    if (member === undefined || this.#ended.has(member)) return member;
    const watched = member.thread ?? member.process;
    if (watched !== undefined)
      this.#ended.set(
        member,
        new Promise((resolve) =>
          (watched as ChildProcess).once("exit", (code: number | null, signal: string | null) =>
            resolve({ code, signal: signal ?? null }),
          ),
        ),
      );
    return member;
  }

  /** Why an attempt has no outcome. `error` is what the pool said, if it said anything. */
  async why(member: Member | undefined, error?: unknown): Promise<Error> {
    const code = (error as { code?: unknown } | undefined)?.code;
    const kind = this.#kind;
    if (code === "ERR_WORKER_OUT_OF_MEMORY")
      return Object.assign(new Error(`The ${kind} ran out of memory while it ran the task (${code})`), { code });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), newsMs);
    });
    const known = member === undefined ? undefined : this.#ended.get(member);
    // A thread that threw says so itself; a process only ends.
    const end = kind === "thread" && error !== undefined ? undefined : await Promise.race([known, late]);
    clearTimeout(timer);
    if (end?.signal != null)
      return Object.assign(
        new Error(
          `The process was ended by the signal ${end.signal} while it ran the task${end.signal === "SIGABRT" ? "; one that runs out of memory ends so" : ""}`,
        ),
        { signal: end.signal },
      );
    if (end?.code != null)
      return Object.assign(new Error(`The ${kind} ended with exit code ${end.code} while it ran the task`), {
        exitCode: end.code,
      });
    if (error === undefined) return new Error(`The ${kind} ended while it ran the task`);
    return new Error(`The ${kind} crashed while it ran the task: ${describeThrown(error).message}`, { cause: error });
  }
}
