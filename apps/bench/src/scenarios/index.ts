// All scenarios, in the order in which they are run and shown.
import type { Scenario } from "../frame/scenario.ts";
import { backlog, million } from "./backlog.ts";
import { drain } from "./drain.ts";
import { enqueue } from "./enqueue.ts";
import { memory } from "./memory.ts";
import { pickUp } from "./pick-up.ts";
import { roundTrip } from "./round-trip.ts";

export const scenarios: readonly Scenario[] = [enqueue, drain, roundTrip, pickUp, backlog, memory, million];
