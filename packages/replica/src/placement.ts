// Where a waiting task stands: blocked, scheduled or ready; and the groups, which let only what could start into the ready order.
import type { StoredTaskState } from "@omniq/core";
import { ReadyOrder, startsBefore, type Place } from "./ready-order.ts";
import { dropEntry, type GroupRecord, type ReplicaState, type TaskRecord } from "./state.ts";

/** Changes the state of a task and the exact counts with it. */
export function setTaskState(task: TaskRecord, next: StoredTaskState): void {
  task.queue.counts[task.state]--;
  task.queue.counts[next]++;
  task.state = next;
}

/** Makes a waiting task ready or scheduled, by its `runAt`. */
export function placeByTime(state: ReplicaState, task: TaskRecord, at: number): void {
  if (task.runAt > at) schedule(state, task);
  else makeReady(state, task, Math.max(task.runAt, task.readyAt));
}

/** Puts a task among those that are due later. */
export function schedule(state: ReplicaState, task: TaskRecord): void {
  setTaskState(task, "scheduled");
  task.dueEntry = { at: task.runAt, task };
  task.queue.due.push(task.dueEntry);
  state.journal.queues.add(task.queue.name);
}

/** Puts a task among those that are due. `readyAt` is the time that ranks it. */
export function makeReady(state: ReplicaState, task: TaskRecord, readyAt: number): void {
  setTaskState(task, "ready");
  task.readyAt = readyAt;
  state.journal.queues.add(task.queue.name);
  if (task.group === undefined || task.holdsSlot) {
    task.place = task.queue.ready.add(task);
    return;
  }
  const group = openGroup(task);
  let order = group.waiting.get(task.group.limit);
  if (order === undefined) {
    order = new ReadyOrder();
    group.waiting.set(task.group.limit, order);
  }
  task.place = order.add(task);
  offerBest(task, group);
}

/** Takes a waiting task from where it stands. Its state stays as it was; the caller sets the next one. */
export function unplace(state: ReplicaState, task: TaskRecord): void {
  dropEntry(task, "dueEntry");
  const place = task.place;
  if (place === undefined) return;
  task.place = undefined;
  if (task.group === undefined || task.holdsSlot) {
    task.queue.ready.remove(place);
    return;
  }
  const group = openGroup(task);
  const order = group.waiting.get(task.group.limit);
  order?.remove(place);
  if (order?.size === 0) group.waiting.delete(task.group.limit);
  offerBest(task, group);
  state.journal.queues.add(task.queue.name);
}

/** Takes a slot for a task that starts. */
export function takeSlot(task: TaskRecord): void {
  if (task.group === undefined || task.holdsSlot) return;
  const group = openGroup(task);
  task.holdsSlot = true;
  group.slots++;
  offerBest(task, group);
}

/** Gives a task's slot back, which may let another one of the group start. */
export function freeSlot(state: ReplicaState, task: TaskRecord): void {
  if (task.group === undefined || !task.holdsSlot) return;
  const group = openGroup(task);
  task.holdsSlot = false;
  group.slots--;
  offerBest(task, group);
  state.journal.queues.add(task.queue.name);
}

function openGroup(task: TaskRecord): GroupRecord {
  const key = (task.group as { readonly key: string }).key;
  let group = task.queue.groups.get(key);
  if (group === undefined) {
    group = { key, slots: 0, waiting: new Map(), offer: undefined };
    task.queue.groups.set(key, group);
  }
  return group;
}

/** Keeps one place of the group in the queue's ready order: the best of those whose limit is above the slots taken. */
function offerBest(task: TaskRecord, group: GroupRecord): void {
  const { ready, groups } = task.queue;
  let best: Place | undefined;
  for (const [limit, order] of group.waiting) {
    if (limit <= group.slots) continue;
    const first = order.first();
    if (first !== undefined && (best === undefined || startsBefore(first, best))) best = first;
  }
  const offer = group.offer;
  if (
    offer === undefined ||
    offer.task !== best?.task ||
    offer.readyAt !== best.readyAt ||
    offer.priority !== best.priority
  ) {
    if (offer !== undefined) ready.remove(offer);
    group.offer = best === undefined ? undefined : ready.add(best.task);
  }
  if (group.slots === 0 && group.waiting.size === 0) groups.delete(group.key);
}
