// The answer of a reserve, and the leases in it: one text for all, since each piece of a reply costs both sides.
import type { Lease } from "@omniq/core";
import { cut, readOutcomes, readTask } from "./codec.ts";
import type { KindFields } from "./kinds.ts";

/** Of leases with dependencies: which one, and the fields and values of its edges. */
type Edges = readonly (readonly [index: number, edges: readonly string[]])[];

/** What a reserve script answers: one text; where a lease has dependencies, a list of it and of their edges. */
export type ReserveAnswer = string | readonly [text: string, edges: Edges];

export interface ReserveReply {
  /** The server's time. */
  readonly now: number;
  /** When to look again. */
  readonly nextAt: number | undefined;
  readonly token: string;
  readonly deadline: number;
  /** Bytes of each lease in the text. */
  readonly lengths: string;
  /** For each lease id, NUL, attempt and first start (empty: it is the first, now), NUL, record. */
  readonly text: string;
  readonly edges: Edges;
}

export function readReply(answer: ReserveAnswer): ReserveReply {
  const [all, edges] = typeof answer === "string" ? [answer, []] : answer;
  const [now = "", nextAt = "", token = "", deadline = "", lengths = ""] = all.split("\0", 5);
  const head = now.length + nextAt.length + token.length + deadline.length + lengths.length + 5;
  return {
    now: Number(now),
    nextAt: nextAt === "" ? undefined : Number(nextAt),
    token,
    deadline: Number(deadline),
    lengths,
    text: all.slice(head),
    edges,
  };
}

export function hasLeases(reply: ReserveReply): boolean {
  return reply.lengths !== "";
}

export function readLeases(reply: ReserveReply, sentAt: number, kindOf: (reference: string) => KindFields): Lease[] {
  if (!hasLeases(reply)) return [];
  const { now, token, deadline } = reply;
  const edgesOf = reply.edges.length === 0 ? undefined : new Map(reply.edges);
  const entries = reply.lengths.includes(",") ? cut(reply.text, reply.lengths.split(",").map(Number)) : [reply.text];
  return entries.map((entry, index) => {
    const idEnd = entry.indexOf("\0");
    const infoEnd = entry.indexOf("\0", idEnd + 1);
    const first = infoEnd === idEnd + 1;
    const comma = first ? infoEnd : entry.indexOf(",", idEnd);
    const attempt = first ? 1 : Number(entry.slice(idEnd + 1, comma));
    const startedAt = first ? now : Number(entry.slice(comma + 1, infoEnd));
    const edges = edgesOf?.get(index);
    const id = entry.slice(0, idEnd);
    const activity = { attempt, startedAt, cancelling: false };
    const task = readTask(id, entry.slice(infoEnd + 1), now, activity, edges, kindOf);
    return {
      taskId: id,
      queue: task.queue,
      token: `${token}.${index}`,
      run: task.run,
      attempt,
      task,
      deadline,
      sentAt,
      cancelling: false,
      dependencies: edges === undefined ? [] : readOutcomes(edges),
    };
  });
}
