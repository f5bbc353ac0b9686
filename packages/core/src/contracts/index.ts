// The four component contracts: what an adapter implements and the conformance kit checks.
export type * from "./component.ts";
export * from "./task-queue.ts";
export type * from "./result-storage.ts";
export type * from "./event-storage.ts";
export type * from "./schedule-storage.ts";
