// Which bodies of a log are commits: each process judges alike, whoever wrote them, and the commit that follows has the last word.
//
// A body that is no commit, of another position or of another log, and one whose time is far ahead, is void: an empty commit. Whoever appends
// behind it names it as void (`previous`), so that all who read it later agree. Where the log is ordered by position and the commit behind an
// unreadable one names it as a commit, it was valid once and has been damaged since: what it held was acknowledged, and others may have
// applied it. Then the process refuses, and names the object.
import { OmniQError } from "@omniq/core";
import { isOperatorsVoid, readCommit, voidId, type Commit } from "./commit.ts";
import type { OrderedLog } from "./ordered-log.ts";

/** A commit whose time is further beyond the store's clock, and beyond the commit before, was not written by a sound process. */
const farAheadMs = 86_400_000;
/** So often in a row a commit that does not follow makes a process open again; then the commit is of another log. */
const mismatchLimit = 3;

/** `reopen`: this process may have another history than the log: it loads the state anew, and reads again. */
export type Verdict =
  | { readonly state: "commit"; readonly commit: Commit }
  | { readonly state: "void"; readonly reason: string; readonly isDeclared: boolean }
  | { readonly state: "reopen" };

/** What the judge knows of the state. */
export interface Before {
  readonly position: number;
  readonly commitId: string;
  readonly at: number;
}

type Void = { readonly position: number; readonly kind: "unreadable" | "declared" | "foreign" | "ahead"; id: string };

export class Chain {
  readonly #log: OrderedLog;
  /** The last position that was judged void. */
  #last: Void | undefined;
  /** Positions that look like commits, and whose follower says that they are void; and the other way round, where only the time was far ahead. */
  readonly #void = new Set<number>();
  readonly #valid = new Set<number>();
  #mismatch = { position: 0, times: 0 };

  constructor(log: OrderedLog) {
    this.#log = log;
  }

  nameOf(position: number): string {
    return this.#log.nameOf?.(position) ?? `Commit ${position}`;
  }

  judge(body: string, position: number, before: Before): Verdict {
    const read = readCommit(body, position);
    if (this.#log.ordering === "server")
      return "void" in read
        ? { state: "void", reason: read.void, isDeclared: false }
        : { state: "commit", commit: read };
    const earlier = this.#last?.position === position - 1 ? this.#last : undefined;
    if ("void" in read) {
      const kind = isOperatorsVoid(body) ? "declared" : "unreadable";
      return this.#voided({ position, kind, id: "" }, read.void);
    }
    const { id, previous, sequence, at } = read;
    const foreign = (reason: string): Verdict => this.#voided({ position, kind: "foreign", id }, reason);
    if (sequence !== position) return foreign(`it was written for position ${sequence}`);
    if (this.#void.has(position)) return foreign("the commit after it does not know it");
    if (previous !== before.commitId && earlier?.kind !== "declared") {
      if (previous === voidId(position - 1)) {
        this.#void.add(position - 1);
        return { state: "reopen" };
      }
      if (earlier?.kind === "unreadable") throw this.#damaged(position - 1);
      if (earlier?.kind === "ahead" && previous === earlier.id) {
        this.#valid.add(position - 1);
        return { state: "reopen" };
      }
      if (earlier !== undefined && previous === earlier.id) return foreign("it follows a commit of another log");
      const times = this.#mismatch.position === position ? this.#mismatch.times + 1 : 1;
      this.#mismatch = { position, times };
      if (times <= mismatchLimit) return { state: "reopen" };
      return foreign("it does not follow the commit before it, so it is of another log");
    }
    if (at > Math.max(before.at, this.#log.now()) + farAheadMs && !this.#valid.has(position))
      return this.#voided({ position, kind: "ahead", id }, "its time is more than a day ahead");
    return { state: "commit", commit: read };
  }

  #voided(last: Void, reason: string): Verdict {
    this.#last = last;
    return { state: "void", reason, isDeclared: last.kind === "declared" };
  }

  #damaged(position: number): OmniQError {
    const name = this.nameOf(position);
    return new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `${name} is damaged: the commit after it was written by a process that could read it, so tasks that were acknowledged may be in it. ` +
        "Restore it from a backup; or, with all processes stopped, replace its contents by the word void to go on without what it held",
    );
  }
}
