// Leases: reserve gives them, extend pushes their deadlines out, settle ends them.
import { watchExpiry } from "./enqueue.ts";
import { settleRepeatMs } from "@omniq/core";
import type { LeaseExtension, LeaseState, SettleState, Settlement } from "@omniq/core";
import type { GrantedLease } from "./command.ts";
import { isLate } from "./deduplication.ts";
import { appendEvents } from "./events.ts";
import { endLease, finishRecorded, finishUnrecorded } from "./finish.ts";
import { describeTask } from "./inspection.ts";
import { chargeStart, startAllowance } from "./limits.ts";
import { freeSlot, makeReady, setTaskState, takeSlot, unplace } from "./placement.ts";
import { drawToken } from "./random.ts";
import { putResult } from "./results.ts";
import { dropEntry, type Moment, type QueueRecord, type ReplicaState, type TaskRecord } from "./state.ts";
import { forget, maintainQueue, waitAgain, watchLease } from "./upkeep.ts";

/** So many tasks of a queue fall due in one reserve; what is left falls due in the next. */
export const upkeepLimit = 10_000;

export interface ReserveCommand {
  readonly queues: readonly string[];
  readonly limit: number;
  readonly leaseMs: number;
  readonly worker: string;
  readonly maxBytes?: number | undefined;
}

/** What a task has of what `maxBytes` bounds, in characters. */
function weightOf(task: TaskRecord): number {
  let weight = task.payload.length;
  for (const { outcome } of task.dependencies ?? [])
    weight += (outcome?.value?.length ?? 0) + (outcome?.error?.length ?? 0);
  return weight;
}

export function reserveTasks(state: ReplicaState, request: ReserveCommand, moment: Moment): readonly GrantedLease[] {
  forget(state, moment.at, 64 + request.limit);
  const leases: GrantedLease[] = [];
  let left = request.maxBytes;
  for (const name of request.queues) {
    const queue = state.queues.get(name);
    if (queue === undefined) continue;
    maintainQueue(state, queue, moment, upkeepLimit);
    let allowed = Math.min(request.limit - leases.length, startAllowance(queue, moment.at));
    while (allowed > 0) {
      const task = queue.ready.first()?.task;
      if (task === undefined) break;
      if (isLate(task, moment.at)) {
        finishUnrecorded(state, task, "expired", moment);
        continue;
      }
      if (left !== undefined) {
        left -= weightOf(task);
        if (left < 0 && leases.length > 0) return leases;
      }
      leases.push(start(state, queue, task, request, moment));
      allowed--;
    }
    if (leases.length >= request.limit) break;
  }
  return leases;
}

function start(
  state: ReplicaState,
  queue: QueueRecord,
  task: TaskRecord,
  request: ReserveCommand,
  moment: Moment,
): GrantedLease {
  unplace(state, task);
  takeSlot(task);
  setTaskState(task, "active");
  dropEntry(task, "expiryEntry");
  task.attempt++;
  task.startedAt ??= moment.at;
  const token = drawToken(moment.commitId, state.draws++);
  const deadline = moment.at + request.leaseMs;
  task.lease = { token, deadline, worker: request.worker };
  watchLease(task, deadline);
  chargeStart(queue, moment.at);
  return {
    taskId: task.id,
    queue: queue.name,
    token,
    run: task.run,
    attempt: task.attempt,
    task: describeTask(task, moment.at),
    deadline,
    cancelling: task.cancelling,
    dependencies: (task.dependencies ?? []).flatMap(({ outcome }) => (outcome === undefined ? [] : [outcome])),
  };
}

function leased(state: ReplicaState, taskId: string, token: string): TaskRecord | undefined {
  const task = state.tasks.get(taskId);
  return task?.lease?.token === token ? task : undefined;
}

export function extendLeases(
  state: ReplicaState,
  leases: readonly LeaseExtension[],
  leaseMs: number,
  moment: Moment,
): readonly LeaseState[] {
  return leases.map(({ taskId, token, progress }) => {
    const task = leased(state, taskId, token);
    if (task?.lease === undefined) return { state: "lost" };
    const deadline = moment.at + leaseMs;
    task.lease.deadline = deadline;
    watchLease(task, deadline);
    if (progress !== undefined) task.progress = progress;
    return { state: task.cancelling ? "cancelling" : "held", deadline };
  });
}

export function settleLeases(
  state: ReplicaState,
  settlements: readonly Settlement[],
  moment: Moment,
): readonly SettleState[] {
  forget(state, moment.at, 64 + settlements.length);
  return settlements.map((settlement) => settleLease(state, settlement, moment));
}

function settleLease(state: ReplicaState, settlement: Settlement, moment: Moment): SettleState {
  const { at } = moment;
  const task = leased(state, settlement.taskId, settlement.token);
  if (task === undefined) {
    const settled = state.settled.get(settlement.token);
    return settled !== undefined && settled.at > at && settled.outcome === settlement.outcome ? "settled" : "lost";
  }
  const until = at + settleRepeatMs;
  state.settled.set(settlement.token, { at: until, token: settlement.token, outcome: settlement.outcome });
  if (settlement.outcome === "release") release(state, task, settlement.delayMs ?? 0, moment);
  else if (settlement.outcome === "retry") retryLater(state, task, settlement, moment);
  else {
    if (settlement.storeResult && task.resultTtlMs !== 0) {
      putResult(
        state,
        {
          taskId: task.id,
          run: task.run,
          attempt: task.attempt,
          name: task.name,
          queue: task.queue.name,
          status: settlement.outcome,
          value: settlement.value,
          error: settlement.error,
          ttlMs: task.resultTtlMs,
        },
        at,
      );
    }
    finishRecorded(state, task, settlement.outcome, moment, settlement);
  }
  if (settlement.events !== undefined) appendEvents(state, settlement.events, at);
  return "settled";
}

function release(state: ReplicaState, task: TaskRecord, delayMs: number, moment: Moment): void {
  const { at } = moment;
  task.attempt--;
  if (task.cancelling) {
    finishUnrecorded(state, task, "cancelled", moment);
    return;
  }
  endLease(task);
  // A task that was leased ahead and given back has not started yet, so its expiry counts again.
  if (task.attempt === 0 && task.expiries === 0) {
    task.startedAt = undefined;
    watchExpiry(task);
  }
  if (delayMs > 0) {
    waitAgain(state, task, at, at + delayMs);
    return;
  }
  freeSlot(state, task);
  makeReady(state, task, task.readyAt);
}

function retryLater(
  state: ReplicaState,
  task: TaskRecord,
  settlement: { readonly delayMs: number; readonly error: string },
  moment: Moment,
): void {
  task.error = settlement.error;
  if (task.cancelling) finishUnrecorded(state, task, "cancelled", moment);
  else if (task.attempt >= task.maxAttempts) finishUnrecorded(state, task, "failed", moment);
  else {
    endLease(task);
    waitAgain(state, task, moment.at, moment.at + settlement.delayMs);
  }
}
