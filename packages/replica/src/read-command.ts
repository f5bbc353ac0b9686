// Commands that change the state, read as a whole: those of a log, which anybody may have written, and those of a caller.
import { OmniQError } from "@omniq/core";
import type { StoredTaskState } from "@omniq/core";
import { isRead } from "./apply.ts";
import type { Command, WriteCommand, WriteVerbs } from "./command.ts";
import {
  readEvent,
  readExtension,
  readOutcome,
  readRecorded,
  readResult,
  readSchedule,
  readSettings,
  readSettlement,
  readTask,
} from "./read-items.ts";
import {
  isCount,
  isKey,
  isObject,
  isText,
  isTime,
  isTimeOrNull,
  readIds,
  readList,
  type Loose,
  type Refuse,
} from "./reading.ts";

/** No lease is longer: one that a log made so would hold its task for ever. */
const longestLeaseMs = 604_800_000;
/** So many leases at most in one answer. */
const mostLeases = 10_000;

/**
 * A command of a log as a plain object that says the same after JSON, with what can't be read left out or standing for what nobody knows;
 * `undefined`, and nothing is to be done, where that leaves nothing. Every reader comes to the same.
 */
export function readCommand(value: unknown, refuse: Refuse): WriteCommand | undefined {
  if (!isObject(value)) return refuse("a command");
  const given = value as { readonly verb?: unknown };
  const isVerb = isText(given.verb) && Object.hasOwn(readers, given.verb);
  if (!isVerb) return refuse("verb of a command");
  return readers[given.verb as keyof WriteVerbs](given as never, refuse);
}

/** A caller's command as a plain object. A value that the log would not keep as it is, or no rule can use, is `OMNIQ_INVALID_OPTION`. */
export function checkCommand<C extends Command>(command: C): C {
  if (isRead(command)) return command;
  return readCommand(command, (what): never => {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `${command.verb}: the ${what.replace(/^an? /u, "")} is not what the contract says`,
    );
  }) as C;
}

type Given<V extends keyof WriteVerbs> = Loose<WriteVerbs[V][0]>;
type Readers = {
  readonly [V in keyof WriteVerbs]: (given: Given<V>, refuse: Refuse) => WriteCommand | undefined;
};

const readers: Readers = {
  enqueue: ({ calls }, refuse) => {
    const read = readList(calls, "calls", readCall, refuse);
    return read && { verb: "enqueue", calls: read };
  },
  reserve: ({ queues, limit, leaseMs, worker, maxBytes }, refuse) => {
    const names = readIds(queues, "queues", refuse);
    if (names === undefined) return undefined;
    if (!isCount(limit)) return refuse("limit");
    if (!isLeaseMs(leaseMs)) return refuse("leaseMs");
    if (!isText(worker)) return refuse("worker");
    if (maxBytes !== undefined && !isTime(maxBytes)) return refuse("maxBytes");
    return { verb: "reserve", queues: names, limit: Math.min(limit, mostLeases), leaseMs, worker, maxBytes };
  },
  extend: ({ leases, leaseMs }, refuse) => {
    if (!isLeaseMs(leaseMs)) return refuse("leaseMs");
    const read = readList(leases, "leases", readExtension, refuse);
    return read && { verb: "extend", leases: read, leaseMs };
  },
  settle: ({ settlements }, refuse) => {
    const read = readList(settlements, "settlements", readSettlement, refuse);
    return read && { verb: "settle", settlements: read };
  },
  cancel: ({ ids }, refuse) => {
    const read = readIds(ids, "ids", refuse);
    return read && { verb: "cancel", ids: read };
  },
  configureQueue: ({ queue, settings }, refuse) => {
    if (!isKey(queue)) return refuse("queue");
    const read = readSettings(settings, refuse);
    return read && { verb: "configureQueue", queue, settings: read };
  },
  pause: ({ queue }, refuse) => (isKey(queue) ? { verb: "pause", queue } : refuse("queue")),
  resume: ({ queue }, refuse) => (isKey(queue) ? { verb: "resume", queue } : refuse("queue")),
  retry: ({ ids, outcomes = [] }, refuse) => {
    const read = readIds(ids, "ids", refuse);
    const given = readList(outcomes, "outcomes", readOutcome, refuse);
    return read && given && { verb: "retry", ids: read, outcomes: given };
  },
  remove: ({ ids }, refuse) => {
    const read = readIds(ids, "ids", refuse);
    return read && { verb: "remove", ids: read };
  },
  purge: ({ queue, states }, refuse) => {
    if (!isText(queue)) return refuse("queue");
    const read = readIds(states, "states", refuse) as StoredTaskState[] | undefined;
    return read && { verb: "purge", queue, states: read };
  },
  record: ({ outcomes }, refuse) => {
    const read = readList(outcomes, "outcomes", readRecorded, refuse);
    return read && { verb: "record", outcomes: read };
  },
  sweep: ({ limit }, refuse) => (isCount(limit) ? { verb: "sweep", limit } : refuse("limit")),
  putResults: ({ results }, refuse) => {
    const read = readList(results, "results", readResult, refuse);
    return read && { verb: "putResults", results: read };
  },
  deleteResults: ({ ids }, refuse) => {
    const read = readIds(ids, "ids", refuse);
    return read && { verb: "deleteResults", ids: read };
  },
  sweepResults: ({ limit }, refuse) => (isCount(limit) ? { verb: "sweepResults", limit } : refuse("limit")),
  appendEvents: ({ events }, refuse) => {
    const read = readList(events, "events", readEvent, refuse);
    return read && { verb: "appendEvents", events: read };
  },
  sweepEvents: ({ limit }, refuse) => (isCount(limit) ? { verb: "sweepEvents", limit } : refuse("limit")),
  putSchedule: ({ schedule, revision }, refuse) => {
    const read = readSchedule(schedule, refuse);
    if (revision !== undefined && revision !== null && !isText(revision)) return refuse("revision");
    return read && { verb: "putSchedule", schedule: read, revision };
  },
  deleteSchedules: ({ ids }, refuse) => {
    const read = readIds(ids, "ids", refuse);
    return read && { verb: "deleteSchedules", ids: read };
  },
  advanceSchedule: ({ id, revision, next }, refuse) => {
    if (!isText(id)) return refuse("id");
    if (!isText(revision)) return refuse("revision");
    if (!isObject(next)) return refuse("next");
    const { nextAt, runs } = next as { readonly nextAt?: unknown; readonly runs?: unknown };
    if (!isTimeOrNull(nextAt)) return refuse("nextAt");
    return isCount(runs) ? { verb: "advanceSchedule", id, revision, next: { nextAt, runs } } : refuse("runs");
  },
};

type Call = WriteVerbs["enqueue"][0]["calls"][number];
function readCall(value: unknown, refuse: Refuse): Call | undefined {
  if (!isObject(value)) return refuse("a call");
  const given = value as Loose<Call>;
  const tasks = readList(given.tasks, "tasks", readTask, refuse);
  if (tasks === undefined) return undefined;
  const events = given.events === undefined ? undefined : readList(given.events, "events", readEvent, refuse);
  return events === undefined ? { tasks } : { tasks, events };
}

function isLeaseMs(value: unknown): value is number {
  return isTime(value) && value <= longestLeaseMs;
}
