// The suite of the result storage contract.
import type { ResultStorage } from "@omniq/core";
import type { Case } from "../suite.ts";
import { expiryCases } from "./expiry.ts";
import { firstWinsCases } from "./first-wins.ts";
import { waitCases } from "./wait.ts";

export const resultStorageCases: readonly Case<ResultStorage>[] = [...firstWinsCases, ...waitCases, ...expiryCases];
