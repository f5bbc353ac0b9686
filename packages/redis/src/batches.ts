// Batches as the scripts take them: few long arguments, each a column of the batch, since each argument costs both sides; and the answers of `enqueue`.
import type { EnqueueAnswer, EnqueueCall, EnqueueReceipt, NewTask, Settlement } from "@omniq/core";
import { bodyOf, endingOf, isPlain, optionsOf, writeEvent, writeOutcome } from "./codec.ts";
import type { Kind } from "./kinds.ts";

/** Texts as one argument, NUL after each; or, where one of them has a NUL, an argument each. Their number first. */
function pushTexts(args: (string | number)[], texts: readonly string[]): void {
  if (texts.some((text) => text.includes("\0"))) args.push(texts.length, ...texts);
  else args.push(0, column(texts));
}

/** Pieces without NUL as one text, NUL after each. */
function column(pieces: readonly (string | number)[]): string {
  return pieces.length === 0 ? "" : `${pieces.join("\0")}\0`;
}

/** The same where all are often equal: then it has one piece. */
function evenColumn(pieces: readonly (string | number)[]): string {
  const [first] = pieces;
  return pieces.every((piece) => piece === first) ? column(pieces.slice(0, 1)) : column(pieces);
}

/** The arguments of `enqueue`: the short form where all tasks are plain and there are no events. */
export function writeCalls(calls: readonly EnqueueCall[], kindOf: (task: NewTask) => Kind): (string | number)[] {
  let plain = true;
  let total = 0;
  for (const { tasks, events } of calls) {
    total += tasks.length;
    plain &&= (events === undefined || events.length === 0) && tasks.every(isPlain);
  }
  return plain && total > 0 ? writePlain(calls, total, kindOf) : writeAny(calls, total, kindOf);
}

/** The task, where it is the only one, plain, and without events. */
export function onlyPlain(calls: readonly EnqueueCall[]): NewTask | undefined {
  const { tasks, events } = calls[0] as EnqueueCall;
  const task = tasks[0];
  if (calls.length > 1 || tasks.length > 1 || task === undefined || (events !== undefined && events.length > 0))
    return undefined;
  return isPlain(task) ? task : undefined;
}

/** `1`, id, reference, queue, payload: the arguments for one plain task of a kind that the server has. */
export function writeOne({ id, queue, payload }: NewTask, reference: string): string[] {
  return ["1", id, reference, queue, payload];
}

/** `f`, number of tasks, ids, number of runs of one kind, for each reference (or empty), queue, head, envelope and length; payloads. */
function writePlain(
  calls: readonly EnqueueCall[],
  total: number,
  kindOf: (task: NewTask) => Kind,
): (string | number)[] {
  const ids: string[] = [];
  const payloads: string[] = [];
  const runs: (string | number)[] = [];
  let kind: Kind | undefined;
  let reference: string | undefined;
  let length = 0;
  let count = 0;
  const end = (): void => {
    if (kind === undefined) return;
    const { queue, head, envelope } = kind;
    count += 1;
    if (reference === undefined) runs.push("", queue, head, `${envelope.length}:${envelope}`, length);
    else runs.push(reference, queue, "", "", length);
  };
  for (const { tasks } of calls) {
    for (const task of tasks) {
      ids.push(task.id);
      payloads.push(task.payload);
      const own = kindOf(task);
      if (own !== kind) {
        end();
        kind = own;
        ({ reference } = own);
        length = 0;
      }
      length += 1;
    }
  }
  end();
  const args: (string | number)[] = ["f", total, column(ids), count, ...runs];
  pushTexts(args, payloads);
  return args;
}

/**
 * `s`, number of calls, number of tasks; for each call its numbers of tasks and events; for each task id, queue, head, body, options and
 * dependencies; for each event id, task id, time, text. At the end the references of all, and their number.
 */
function writeAny(calls: readonly EnqueueCall[], total: number, kindOf: (task: NewTask) => Kind): (string | number)[] {
  const references = new Set<string>();
  const args: (string | number)[] = ["s", calls.length, total];
  for (const { tasks, events = [] } of calls) {
    args.push(tasks.length, events.length);
    for (const task of tasks) {
      const { head, reference } = kindOf(task);
      if (reference !== undefined) references.add(reference);
      args.push(task.id, task.queue, head, bodyOf(task, reference), optionsOf(task));
      for (const { taskId, onFailure, outcome } of task.dependencies ?? [])
        args.push(taskId, onFailure === "fail" ? "f" : "r", outcome === undefined ? "" : endingOf(outcome));
    }
    for (const event of events) args.push(...writeEvent(event));
  }
  args.push(...references, references.size);
  return args;
}

type Reply = 0 | 1 | string;
type CallReply = readonly Reply[] | readonly ["unknown", readonly string[]];

const receiptStates = { k: "deduplicated", r: "replaced", x: "extended" } as const;

/** The answers. A plain batch answers its size when all are new, else a digit for each task; any other a list for each call. */
export function readAnswers(calls: readonly EnqueueCall[], answer: unknown): EnqueueAnswer[] {
  if (typeof answer === "number") return calls.map(({ tasks }) => accepted(tasks.map(newReceipt)));
  if (typeof answer === "string") {
    let next = 0;
    return calls.map(({ tasks }) =>
      accepted(tasks.map((task) => (answer[next++] === "1" ? newReceipt(task) : { id: task.id, state: "duplicate" }))),
    );
  }
  const replies = answer as readonly CallReply[];
  return calls.map(({ tasks }, index) => {
    const own = replies[index] as CallReply;
    if (own[0] === "unknown" && Array.isArray(own[1])) return { state: "unknown-dependencies", taskIds: own[1] };
    return accepted(
      tasks.map((task, position): EnqueueReceipt => {
        const reply = own[position] as Reply;
        if (typeof reply !== "string") return { id: task.id, state: reply === 1 ? "enqueued" : "duplicate" };
        return { id: reply.slice(1), state: receiptStates[reply[0] as keyof typeof receiptStates] };
      }),
    );
  });
}

function accepted(receipts: readonly EnqueueReceipt[]): EnqueueAnswer {
  return { state: "accepted", receipts };
}

function newReceipt({ id }: NewTask): EnqueueReceipt {
  return { id, state: "enqueued" };
}

const letters = { completed: "c", failed: "f", cancelled: "x", retry: "t", release: "l" } as const;

/**
 * The arguments of `settle`: how many, then columns: ids, tokens, letters, queues, flags or delays, numbers of events (empty: none at all),
 * bodies; then the events. Queues and flags have one piece where all are equal.
 */
export function writeSettlements(settlements: readonly Settlement[]): (string | number)[] {
  const ids: string[] = [];
  const tokens: string[] = [];
  const queues: string[] = [];
  const extras: (string | number)[] = [];
  const bodies: string[] = [];
  const counts: number[] = [];
  const events: (string | number)[] = [];
  let ops = "";
  for (const settlement of settlements) {
    const { outcome } = settlement;
    ids.push(settlement.taskId);
    tokens.push(settlement.token);
    queues.push(settlement.queue);
    ops += letters[outcome];
    if (outcome === "retry") {
      extras.push(settlement.delayMs);
      bodies.push(JSON.stringify(settlement.error));
    } else if (outcome === "release") {
      extras.push(settlement.delayMs === undefined ? "-" : settlement.delayMs);
      bodies.push("");
    } else {
      extras.push(settlement.storeResult ? 1 : 0);
      bodies.push(writeOutcome(settlement.value, settlement.error));
    }
    counts.push(settlement.events?.length ?? 0);
    for (const event of settlement.events ?? []) events.push(...writeEvent(event));
  }
  const args: (string | number)[] = [settlements.length, column(ids), column(tokens), ops, evenColumn(queues)];
  args.push(evenColumn(extras), events.length === 0 ? "" : column(counts));
  pushTexts(args, bodies);
  for (const part of events) args.push(part);
  return args;
}
