// Batches as the scripts take them, one flat list of arguments, and the answers of `enqueue`.
import type { EnqueueAnswer, EnqueueCall, EnqueueReceipt, NewTask, Settlement } from "@omniq/core";
import { bodyOf, endingOf, headOf, isPlain, optionsOf, writeEvent, writeOutcome } from "./codec.ts";

/** The arguments of `enqueue`: the short form where all tasks are plain and there are no events. */
export function writeCalls(
  calls: readonly EnqueueCall[],
  referenceOf: (envelope: string) => string | undefined,
): (string | number)[] {
  const references = new Set<string>();
  const body = (task: NewTask): string => {
    const reference = referenceOf(task.envelope);
    if (reference !== undefined) references.add(reference);
    return bodyOf(task, reference);
  };
  let total = 0;
  let plain = true;
  for (const { tasks, events } of calls) {
    total += tasks.length;
    plain &&= (events === undefined || events.length === 0) && tasks.every(isPlain);
  }
  const args: (string | number)[] = [plain && total > 0 ? "f" : "s", calls.length, total];
  if (args[0] === "f") {
    for (const { tasks } of calls) for (const task of tasks) args.push(task.id, task.queue, headOf(task), body(task));
    args.push(...references, references.size);
    return args;
  }
  for (const { tasks, events = [] } of calls) {
    args.push(tasks.length, events.length);
    for (const task of tasks) {
      args.push(task.id, task.queue, headOf(task), body(task), optionsOf(task));
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

/** The answers: one flat list for a plain batch, else a list for each call. */
export function readAnswers(calls: readonly EnqueueCall[], answer: unknown): EnqueueAnswer[] {
  const replies = answer as readonly (Reply | CallReply)[];
  let next = 0;
  return calls.map(({ tasks }, index) => {
    let own: readonly Reply[];
    const first = replies[index];
    if (Array.isArray(first)) {
      if (first[0] === "unknown" && Array.isArray(first[1]))
        return { state: "unknown-dependencies", taskIds: first[1] };
      own = first as readonly Reply[];
    } else {
      own = replies.slice(next, (next += tasks.length)) as readonly Reply[];
    }
    const receipts = tasks.map((task, position): EnqueueReceipt => {
      const reply = own[position];
      if (typeof reply !== "string") return { id: task.id, state: reply === 1 ? "enqueued" : "duplicate" };
      return { id: reply.slice(1), state: receiptStates[reply[0] as keyof typeof receiptStates] };
    });
    return { state: "accepted", receipts };
  });
}

const letters = { completed: "c", failed: "f", cancelled: "x", retry: "t", release: "l" } as const;

/** The arguments of `settle`. */
export function writeSettlements(settlements: readonly Settlement[]): (string | number)[] {
  const args: (string | number)[] = [settlements.length];
  for (const settlement of settlements) {
    const { taskId, queue, token, outcome, events = [] } = settlement;
    args.push(taskId, queue, token, letters[outcome]);
    if (outcome === "retry") args.push(settlement.delayMs, JSON.stringify(settlement.error));
    else if (outcome === "release") args.push("", "");
    else args.push(settlement.storeResult ? 1 : 0, writeOutcome(settlement.value, settlement.error));
    args.push(events.length);
    for (const event of events) args.push(...writeEvent(event));
  }
  return args;
}
