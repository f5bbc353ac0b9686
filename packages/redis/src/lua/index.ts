// All scripts by name, each put together from the parts that it needs.
import { append, base, clock, clockWith, helpers, notify, takeIn } from "./base.ts";
import * as control from "./control.ts";
import { enqueueFast, enqueueOne, enqueueSlow, kindsKnown, knownIds, knownKind } from "./enqueue.ts";
import * as inspect from "./inspect.ts";
import { damage, setAside } from "./damage.ts";
import { outcomes, results } from "./outcomes.ts";
import { reservePlain } from "./reserve-plain.ts";
import { reserve } from "./reserve.ts";
import { extend, settle, settleSlow } from "./settle.ts";
import * as storages from "./storages.ts";
import { groups, store } from "./store.ts";
import { sweep, sweepBuckets, upkeep } from "./upkeep.ts";

// Made only when a script needs it: a plain batch never pays for it.
const library = `local function library()\nlocal L = {}\n${store}${groups}${outcomes}${damage}${settleSlow}${upkeep}${sweepBuckets}return L\nend\n`;
const shared = `${base}${results}`;
const full = `${shared}${library}`;
const ending = `${results}${notify}${append}${library}${settle}`;

export type ScriptName =
  | "enqueue"
  | "reserve"
  | "settle"
  | "settleAndReserve"
  | "extend"
  | "cancel"
  | "retry"
  | "remove"
  | "purge"
  | "configure"
  | "unrecorded"
  | "record"
  | "setAside"
  | "wake"
  | "open"
  | "kind"
  | "sweep"
  | "get"
  | "list"
  | "counts"
  | "putResults"
  | "getResults"
  | "waitResults"
  | "deleteResults"
  | "listResults"
  | "sweepResults"
  | "appendEvents"
  | "eventsOfTask"
  | "sweepEvents"
  | "putSchedule"
  | "getSchedules"
  | "listSchedules"
  | "dueSchedules"
  | "parkSchedules"
  | "deleteSchedules"
  | "advanceSchedule";

export const sources: Readonly<Record<ScriptName, string>> = {
  enqueue: `${clockWith(knownKind)}${takeIn}${enqueueOne}${helpers}if ARGV[1] == 'f' then\n${knownIds}${enqueueFast}end\n${kindsKnown}${results}${append}${library}local L = library()\n${knownIds}${enqueueSlow}`,
  reserve: `${clock}${reservePlain}local plain = reserve_plain(1)\nif plain then return plain end\n${takeIn}${helpers}${results}${library}${reserve}begin()\nadvance(0)\nreturn reserve(1)`,
  settle: `${base}${ending}begin()\nlocal states = settle(1)\nreturn states`,
  settleAndReserve: `${clock}${helpers}${ending}${reservePlain}begin()\nlocal states, a = settle(1)\nlocal plain = reserve_plain(a)\nif plain then return { states, plain } end\n${takeIn}${reserve}return { states, reserve(a) }`,
  extend: `${base}${extend}`,
  cancel: `${full}${control.cancel}`,
  retry: `${full}${control.retry}`,
  remove: `${full}${knownIds}${control.remove}`,
  setAside: `${full}${setAside}`,
  purge: `${full}${control.purge}`,
  configure: `${base}${control.configure}`,
  unrecorded: `${full}${control.unrecorded}`,
  record: `${full}${control.record}`,
  wake: `${base}${control.wake}`,
  open: `${base}${control.open}`,
  kind: `${base}${control.kind}`,
  sweep: `${full}${sweep}`,
  get: `${full}${inspect.show}${inspect.get}`,
  list: `${full}${inspect.show}${inspect.list}`,
  counts: `${base}${inspect.counts}`,
  putResults: `${shared}${notify}${storages.putResults}`,
  getResults: `${shared}${storages.getResults}`,
  waitResults: `${shared}${storages.waitResults}`,
  deleteResults: `${shared}${storages.deleteResults}`,
  listResults: `${shared}${storages.listResults}`,
  sweepResults: `${shared}${storages.sweepResults}`,
  appendEvents: `${base}${append}${storages.appendEvents}`,
  eventsOfTask: `${base}${storages.eventsOfTask}`,
  sweepEvents: `${base}${storages.sweepEvents}`,
  putSchedule: `${base}${storages.putSchedule}`,
  getSchedules: `${base}${storages.getSchedules}`,
  listSchedules: `${base}${storages.listSchedules}`,
  dueSchedules: `${base}${storages.dueSchedules}`,
  parkSchedules: `${base}${storages.parkSchedules}`,
  deleteSchedules: `${base}${storages.deleteSchedules}`,
  advanceSchedule: `${base}${storages.advanceSchedule}`,
};
