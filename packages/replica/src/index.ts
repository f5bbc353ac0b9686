// @omniq/replica: a task queue as a state machine replayed from an ordered log.
export * from "./apply.ts";
export type * from "./command.ts";
export * from "./components.ts";
export {
  allChanged,
  failureOf,
  Listeners,
  LocalExecutor,
  takeChanges,
  type Changes,
  type CommandFailure,
  type Executor,
} from "./executor.ts";
export { LazyExecutor } from "./lazy-executor.ts";
export { ReplicaEventStorage } from "./event-storage.ts";
export { ReplicaResultStorage } from "./result-storage.ts";
export { ReplicaScheduleStorage } from "./schedule-storage.ts";
export { ReplicaTaskQueue } from "./task-queue.ts";
export { decodeState, encodeState, snapshotVersion, type StateSnapshot } from "./snapshot.ts";
export { queryCursor } from "./events.ts";
export { createState, defaultEventTtlMs, newestRules, type ReplicaState } from "./state.ts";
export { nextChance } from "./wake.ts";
export {
  decodeCommit,
  encodeCommit,
  maxCommitLength,
  readCommit,
  type Commit,
  type CommitRequest,
  type Lane,
  type VoidCommit,
} from "./commit.ts";
export { abortable, endSoon } from "./abortable.ts";
export { conceal } from "./concealed.ts";
export { decodePieces, encodePieces } from "./pieces.ts";
export { laneLimit, Machine, type OperationAnswer, type RequestOutcome } from "./machine.ts";
export { MemoryLog, MemoryLogStore, type AppendFault } from "./memory-log.ts";
export type * from "./ordered-log.ts";
export { Replica } from "./replica.ts";
export type { ReplicaOptions } from "./replica-options.ts";
