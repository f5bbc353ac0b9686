// Upkeep: what falls due as time passes. Reserve does it for its queues, sweep for all; nothing that is correct waits for it.
import { expiriesLimit, expiryPauseMs } from "@omniq/core";
import { drawInteger } from "./random.ts";
import { endLease, finishUnrecorded, leave, queueError } from "./finish.ts";
import { freeSlot, makeReady, placeByTime } from "./placement.ts";
import { dropEntry, isIdleQueue, type Moment, type QueueRecord, type ReplicaState, type TaskRecord } from "./state.ts";

/** Ends dead leases, expires, promotes and removes old dead letters of one queue: at most about `limit` tasks. Says how many. */
export function maintainQueue(state: ReplicaState, queue: QueueRecord, moment: Moment, limit: number): number {
  const { at } = moment;
  let changed = 0;
  for (
    let entry = queue.leases.peek();
    entry !== undefined && entry.at <= at && changed < limit;
    entry = queue.leases.peek()
  ) {
    queue.leases.pop();
    const { task } = entry;
    task.leaseEntry = undefined;
    if (task.lease === undefined) continue;
    if (task.lease.deadline > entry.at) {
      // It was extended; whatever its deadline, it takes its turn by it, so that replicas end leases in one order.
      watchLease(task, task.lease.deadline);
      continue;
    }
    expireLease(state, task, moment);
    changed++;
  }
  for (
    let entry = queue.expiries.peek();
    entry !== undefined && entry.at <= at && changed < limit;
    entry = queue.expiries.peek()
  ) {
    finishUnrecorded(state, entry.task, "expired", moment);
    changed++;
  }
  for (
    let entry = queue.due.peek();
    entry !== undefined && entry.at <= at && changed < limit;
    entry = queue.due.peek()
  ) {
    queue.due.pop();
    entry.task.dueEntry = undefined;
    makeReady(state, entry.task, entry.task.runAt);
    changed++;
  }
  if (queue.deadLetterTtlMs !== undefined) {
    const old = at - queue.deadLetterTtlMs;
    for (
      let entry = queue.deadLetters.peek();
      entry !== undefined && entry.at <= old && changed < limit;
      entry = queue.deadLetters.peek()
    ) {
      leave(state, entry.task, moment);
      changed++;
    }
  }
  return changed;
}

/** Puts a lease among those that run out. One entry a lease is enough: one that was extended is looked at again. */
export function watchLease(task: TaskRecord, deadline: number): void {
  if (task.leaseEntry !== undefined) {
    if (task.leaseEntry.at <= deadline) return;
    dropEntry(task, "leaseEntry");
  }
  task.leaseEntry = { at: deadline, task };
  task.queue.leases.push(task.leaseEntry);
}

function expireLease(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  const { at, commitId } = moment;
  endLease(task);
  task.expiries++;
  task.attempt--;
  if (task.cancelling) finishUnrecorded(state, task, "cancelled", moment);
  else if (task.expiries >= expiriesLimit) {
    const message = `The lease of the task ran out ${task.expiries} times: its workers died, hung or lost the backend`;
    finishUnrecorded(state, task, "failed", moment, queueError("OMNIQ_LEASE_LOST", message, task.id));
  } else waitAgain(state, task, at, at + 1 + drawInteger(commitId, state.draws++, expiryPauseMs - 1));
}

/** Makes an active task wait for its next attempt. At group limit 1 it keeps its slot. */
export function waitAgain(state: ReplicaState, task: TaskRecord, at: number, runAt: number): void {
  if (task.group !== undefined && task.group.limit > 1) freeSlot(state, task);
  task.runAt = runAt;
  task.readyAt = 0;
  placeByTime(state, task, at);
  // One active task fewer: the queue's own limit may let another one start.
  state.journal.queues.add(task.queue.name);
}

/** Forgets ids, settled tokens and lapsed keys whose time is over: at most `limit` of each. Says how many. */
export function forget(state: ReplicaState, at: number, limit: number): number {
  let forgotten = 0;
  for (let left = limit; left > 0; left--) {
    const entry = state.forgetting.peek();
    if (entry === undefined || entry.at > at) break;
    state.forgetting.pop();
    state.remembered.delete(entry.id);
    forgotten++;
  }
  for (let left = limit; left > 0; left--) {
    const entry = state.lapsing.peek();
    if (entry === undefined || entry.at > at) break;
    state.lapsing.pop();
    const queue = state.queues.get(entry.queue);
    queue?.keys.delete(entry.key);
    if (queue !== undefined && isIdleQueue(queue)) state.queues.delete(queue.name);
    forgotten++;
  }
  let left = limit;
  for (const [token, settled] of state.settled) {
    // Tokens stand in the order of their time.
    if (settled.at > at || left-- <= 0) break;
    state.settled.delete(token);
  }
  return forgotten;
}

/** Upkeep of everything: at most about `limit` changes. Says how many. */
export function sweepTasks(state: ReplicaState, moment: Moment, limit: number): number {
  let changed = 0;
  for (const queue of [...state.queues.values()]) {
    if (changed >= limit) break;
    changed += maintainQueue(state, queue, moment, limit - changed);
  }
  if (changed < limit) changed += forget(state, moment.at, limit - changed);
  return changed;
}
