// All dimensions, in the order of the table.
import type { Dimension } from "../dimension.ts";
import { fanIn, fanOut } from "./dependencies.ts";
import { groups, oneGroup, queuesListed, queuesUsed } from "./queues.ts";
import { events, eventsOfOne, results, schedules } from "./storages.ts";
import { dead, delayed, elsewhere, keys, priorities, waiting } from "./tasks.ts";

export const dimensions: readonly Dimension[] = [
  waiting,
  delayed,
  elsewhere,
  dead,
  priorities,
  keys,
  queuesUsed,
  queuesListed,
  groups,
  oneGroup,
  fanIn,
  fanOut,
  results,
  events,
  eventsOfOne,
  schedules,
];
