// The commands of the state machine: the verbs of the four contracts as plain data, and what each answers.
import type {
  DependencyOutcome,
  EnqueueAnswer,
  EnqueueCall,
  EventFilter,
  LeaseExtension,
  LeaseReference,
  LeaseState,
  NewEvent,
  NewResult,
  NewSchedule,
  Page,
  PageRequest,
  QueueCancelState,
  QueueCounts,
  QueueSettings,
  RemoveState,
  ResultFilter,
  RetryState,
  SettleState,
  Settlement,
  StoredEvent,
  StoredResult,
  StoredSchedule,
  StoredTask,
  StoredTaskState,
  TaskFilter,
  UnrecordedOutcome,
} from "@omniq/core";

/** A lease as the state machine gives it; the component adds `sentAt`, which is a matter of the process that asked. */
export interface GrantedLease extends LeaseReference {
  readonly task: StoredTask;
  readonly deadline: number;
  readonly cancelling: boolean;
  readonly dependencies: readonly DependencyOutcome[];
}

/** Verbs that change the state, with what they answer. */
export interface WriteVerbs {
  readonly enqueue: [{ readonly calls: readonly EnqueueCall[] }, readonly EnqueueAnswer[]];
  readonly reserve: [
    {
      readonly queues: readonly string[];
      readonly limit: number;
      readonly leaseMs: number;
      readonly worker: string;
      readonly maxBytes?: number | undefined;
    },
    readonly GrantedLease[],
  ];
  readonly extend: [{ readonly leases: readonly LeaseExtension[]; readonly leaseMs: number }, readonly LeaseState[]];
  readonly settle: [{ readonly settlements: readonly Settlement[] }, readonly SettleState[]];
  readonly cancel: [{ readonly ids: readonly string[] }, readonly QueueCancelState[]];
  readonly configureQueue: [{ readonly queue: string; readonly settings: QueueSettings }, null];
  readonly pause: [{ readonly queue: string }, null];
  readonly resume: [{ readonly queue: string }, null];
  readonly retry: [
    { readonly ids: readonly string[]; readonly outcomes?: readonly DependencyOutcome[] | undefined },
    readonly RetryState[],
  ];
  readonly remove: [{ readonly ids: readonly string[] }, readonly RemoveState[]];
  readonly purge: [{ readonly queue: string; readonly states: readonly StoredTaskState[] }, number];
  readonly record: [{ readonly outcomes: readonly { readonly taskId: string; readonly run: number }[] }, null];
  readonly sweep: [{ readonly limit: number }, number];
  readonly putResults: [{ readonly results: readonly NewResult[] }, readonly StoredResult[]];
  readonly deleteResults: [{ readonly ids: readonly string[] }, null];
  readonly sweepResults: [{ readonly limit: number }, number];
  readonly appendEvents: [{ readonly events: readonly NewEvent[] }, null];
  readonly sweepEvents: [{ readonly limit: number }, number];
  readonly putSchedule: [
    { readonly schedule: NewSchedule; readonly revision?: string | null | undefined },
    StoredSchedule | null,
  ];
  readonly deleteSchedules: [{ readonly ids: readonly string[] }, readonly boolean[]];
  readonly advanceSchedule: [
    {
      readonly id: string;
      readonly revision: string;
      readonly next: { readonly nextAt: number | null; readonly runs: number };
    },
    boolean,
  ];
}

/** Verbs that only look. They need no commit, only a state that is recent enough. */
export interface ReadVerbs {
  readonly getTasks: [{ readonly ids: readonly string[] }, readonly (StoredTask | undefined)[]];
  readonly listTasks: [{ readonly filter: TaskFilter; readonly page: PageRequest }, Page<StoredTask>];
  readonly counts: [{ readonly queues?: readonly string[] | undefined }, Readonly<Record<string, QueueCounts>>];
  readonly unrecorded: [{ readonly limit: number }, readonly UnrecordedOutcome[]];
  readonly getResults: [{ readonly ids: readonly string[] }, readonly (StoredResult | undefined)[]];
  readonly listResults: [{ readonly filter: ResultFilter; readonly page: PageRequest }, Page<StoredResult>];
  readonly queryEvents: [{ readonly filter: EventFilter; readonly page: PageRequest }, Page<StoredEvent>];
  /** The cursor after the latest event. */
  readonly lastEvent: [Record<never, never>, string];
  readonly getSchedules: [{ readonly ids: readonly string[] }, readonly (StoredSchedule | undefined)[]];
  readonly listSchedules: [{ readonly page: PageRequest }, Page<StoredSchedule>];
  readonly dueSchedules: [
    { readonly limit: number },
    { readonly now: number; readonly schedules: readonly StoredSchedule[] },
  ];
}

export type WriteCommand = { [V in keyof WriteVerbs]: { readonly verb: V } & WriteVerbs[V][0] }[keyof WriteVerbs];
export type ReadCommand = { [V in keyof ReadVerbs]: { readonly verb: V } & ReadVerbs[V][0] }[keyof ReadVerbs];
export type Command = WriteCommand | ReadCommand;
type Verbs = WriteVerbs & ReadVerbs;
/** What a command answers. */
export type AnswerOf<C extends Command> = Verbs[C["verb"]][1];
