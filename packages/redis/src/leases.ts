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

const noEdges: Edges = [];

/** It is read where a worker that was idle waits for it, and all is cold: without lists, and numbers digit by digit. */
export function readReply(answer: ReserveAnswer): ReserveReply {
  const all = typeof answer === "string" ? answer : answer[0];
  const nextAt = all.indexOf("\0") + 1;
  const token = all.indexOf("\0", nextAt) + 1;
  const deadline = all.indexOf("\0", token) + 1;
  const lengths = all.indexOf("\0", deadline) + 1;
  const text = all.indexOf("\0", lengths) + 1;
  return {
    now: wholeNumber(all, 0, nextAt - 1),
    nextAt: token === nextAt + 1 ? undefined : wholeNumber(all, nextAt, token - 1),
    token: all.slice(token, deadline - 1),
    deadline: wholeNumber(all, deadline, lengths - 1),
    lengths: all.slice(lengths, text - 1),
    text: all.slice(text),
    edges: typeof answer === "string" ? noEdges : answer[1],
  };
}

function wholeNumber(text: string, from: number, to: number): number {
  let number = 0;
  for (let at = from; at < to; at++) number = number * 10 + text.charCodeAt(at) - 48;
  return number;
}

export function hasLeases(reply: ReserveReply): boolean {
  return reply.lengths !== "";
}

/** The leases; the ids of tasks that cannot be read go to `damaged`. */
export function readLeases(
  reply: ReserveReply,
  sentAt: number,
  kindOf: (reference: string) => KindFields | undefined,
  damaged: string[],
): Lease[] {
  if (!hasLeases(reply)) return [];
  const { now, token, deadline } = reply;
  const edgesOf = reply.edges.length === 0 ? undefined : new Map(reply.edges);
  const leases: Lease[] = [];
  if (!reply.lengths.includes(",")) readEntry(reply.text, 0);
  else cut(reply.text, reply.lengths.split(",").map(Number)).forEach(readEntry);
  return leases;

  function readEntry(entry: string, index: number): void {
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
    if (task === undefined) {
      damaged.push(id);
      return;
    }
    leases.push({
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
    });
  }
}
