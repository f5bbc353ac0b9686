// The state machine: one command in, the state changed, its answer out. Pure: no clock, no randomness, no I/O.
import type { AnswerOf, Command, ReadCommand, WriteCommand } from "./command.ts";
import {
  cancelTasks,
  configureQueue,
  purgeQueue,
  recordOutcomes,
  removeTasks,
  retryTasks,
  setPaused,
} from "./control.ts";
import { enqueueCalls } from "./enqueue.ts";
import { appendEvents, lastEventCursor, queryEvents, sweepEvents } from "./events.ts";
import { countTasks, getTasks, listTasks, listUnrecorded } from "./inspection.ts";
import { extendLeases, reserveTasks, settleLeases } from "./lease.ts";
import { deleteResults, getResult, listResults, putResult, sweepResults } from "./results.ts";
import { advanceSchedule, deleteSchedules, dueSchedules, listSchedules, putSchedule } from "./schedules.ts";
import { newestRules, type Moment, type ReplicaState } from "./state.ts";
import { sweepTasks } from "./upkeep.ts";

/** Verbs that only look. */
export const readVerbs: ReadonlySet<string> = new Set<ReadCommand["verb"]>([
  "getTasks",
  "listTasks",
  "counts",
  "unrecorded",
  "getResults",
  "listResults",
  "queryEvents",
  "lastEvent",
  "getSchedules",
  "listSchedules",
  "dueSchedules",
]);
export function isRead(command: Command): command is ReadCommand {
  return readVerbs.has(command.verb);
}

/**
 * Applies one command. `at` is when (the state's time never runs backward: an earlier `at` counts as the latest one); `commitId` is the
 * seed of all randomness; `rules` are those of whoever wrote the command. The same state and arguments give the same state and answer. A
 * command that throws has changed nothing.
 */
export function apply<C extends Command>(
  state: ReplicaState,
  command: C,
  at: number,
  commitId: string,
  rules: number = newestRules,
): AnswerOf<C> {
  const now = Math.max(state.at, at);
  if (isRead(command)) return readState(state, command, now) as AnswerOf<C>;
  state.at = now;
  return change(state, command, { at: now, commitId, rules }) as AnswerOf<C>;
}

function change(state: ReplicaState, command: WriteCommand, moment: Moment): unknown {
  const { at } = moment;
  switch (command.verb) {
    case "enqueue":
      return enqueueCalls(state, command.calls, moment);
    case "reserve":
      return reserveTasks(state, command, moment);
    case "extend":
      return extendLeases(state, command.leases, command.leaseMs, moment);
    case "settle":
      return settleLeases(state, command.settlements, moment);
    case "cancel":
      return cancelTasks(state, command.ids, moment);
    case "configureQueue":
      configureQueue(state, command.queue, command.settings, at);
      return null;
    case "pause":
      setPaused(state, command.queue, true);
      return null;
    case "resume":
      setPaused(state, command.queue, false);
      return null;
    case "retry":
      return retryTasks(state, command.ids, command.outcomes ?? [], moment);
    case "remove":
      return removeTasks(state, command.ids, moment);
    case "purge":
      return purgeQueue(state, command.queue, command.states, moment);
    case "record":
      recordOutcomes(state, command.outcomes, moment);
      return null;
    case "sweep":
      return sweepTasks(state, moment, command.limit);
    case "putResults":
      return command.results.map((result) => putResult(state, result, at));
    case "deleteResults":
      deleteResults(state, command.ids);
      return null;
    case "sweepResults":
      return sweepResults(state, command.limit, at);
    case "appendEvents":
      appendEvents(state, command.events, at);
      return null;
    case "sweepEvents":
      return sweepEvents(state, command.limit, at);
    case "putSchedule":
      return putSchedule(state, command.schedule, command.revision);
    case "deleteSchedules":
      return deleteSchedules(state, command.ids);
    case "advanceSchedule":
      return advanceSchedule(state, command.id, command.revision, command.next);
  }
}

function readState(state: ReplicaState, command: ReadCommand, at: number): unknown {
  switch (command.verb) {
    case "getTasks":
      return getTasks(state, command.ids, at);
    case "listTasks":
      return listTasks(state, command.filter, command.page, at);
    case "counts":
      return countTasks(state, command.queues, at);
    case "unrecorded":
      return listUnrecorded(state, command.limit);
    case "getResults":
      return command.ids.map((id) => getResult(state, id, at));
    case "listResults":
      return listResults(state, command.filter, command.page, at);
    case "queryEvents":
      return queryEvents(state, command.filter, command.page, at);
    case "lastEvent":
      return lastEventCursor(state);
    case "getSchedules":
      return command.ids.map((id) => state.schedules.byId.get(id));
    case "listSchedules":
      return listSchedules(state, command.page);
    case "dueSchedules":
      return dueSchedules(state, command.limit, at);
  }
}
