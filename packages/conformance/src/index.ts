// @omniq/conformance: the promises of OmniQ as a test suite for any adapter.
export { testBackend, type ConformanceOptions, type Runner } from "./test-backend.ts";
export { runSuite, type FailedCase, type RunOptions, type SuiteReport } from "./run-suite.ts";
export type { OpenWorld, WorldOptions } from "./world.ts";
export { rules, type Rule, type Suite } from "./rules.ts";
export type { AnyBackend, Case, Clock, DamageKind, Processes, World } from "./suite.ts";
export { suites, suiteNames, componentNames, type ComponentName } from "./suites.ts";
export { brokenBackends, runBroken, wholeBackends, type BrokenBackend } from "./broken/index.ts";
export { testOrderedLog, runOrderedLogCase, type OrderedLogOptions } from "./ordered-log/test-ordered-log.ts";
export { orderedLogCases, orderedLogRules, type OrderedLogCase, type OrderedLogRule } from "./ordered-log/index.ts";
export { testObjectStore, runObjectStoreCase, type ObjectStoreOptions } from "./object-store/test-object-store.ts";
export {
  objectStoreCases,
  objectStoreRules,
  StoreClient,
  type ObjectStoreCase,
  type ObjectStoreRule,
  type ObjectStoreShape,
} from "./object-store/index.ts";
export { checkHistory, type CheckOptions } from "./processes/check-history.ts";
export type * from "./processes/history.ts";
export { mutateBytes, mutateText, seededRandom, type Mutation } from "./damage/mutate.ts";
