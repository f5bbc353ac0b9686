// The suite of the event storage contract.
import type { EventStorage } from "@omniq/core";
import type { Case } from "../suite.ts";
import { orderCases } from "./order.ts";
import { queryCases } from "./query.ts";
import { tailCases } from "./tail.ts";

export const eventStorageCases: readonly Case<EventStorage>[] = [...orderCases, ...queryCases, ...tailCases];
