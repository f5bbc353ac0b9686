// What a queue must offer to take part: one object of this shape in a file of `contestants/<backend>/`, exported as `contestant`.
export const backendNames = ["redis", "postgres", "sqlite", "nats", "memory", "file"] as const;
export type BackendName = (typeof backendNames)[number];

/** Where the tasks of one run live: empty when the run begins, removed when it is over. */
export interface Place {
  /** Redis, PostgreSQL (a database of its own) and NATS: where the server listens. */
  readonly url: string;
  /** SQLite and files: an empty folder. */
  readonly folder: string;
  /** Letters, digits and underscores; no other run has it. */
  readonly prefix: string;
  /** Process id of the server, where the bench started one. */
  readonly serverPid?: number | undefined;
}

export interface Contestant {
  readonly name: string;
  /** True for OmniQ. */
  readonly ours: boolean;
  /** With which of ours it is compared; default `OmniQ`. */
  readonly rival?: string;
  /** The npm packages that do the work; the report states their versions. */
  readonly packages: readonly string[];
  /** What is set other than the defaults; printed as it stands. */
  readonly settings: string;
  /** What is safe from what once a call has resolved; printed as it stands. */
  readonly durability: string;
  /** What is left of a task that is done; printed as it stands. */
  readonly results: string;
  /** Whether worker processes can share its tasks. */
  readonly shared: boolean;
  /** May be called by several processes at once. */
  open(place: Place): Promise<OpenQueue>;
}

/** What a task carries: its number, or where its size counts a text that begins with its number. */
export type Payload = number | string;
/** Called with the payload of a task; what it gives is the task's result. */
export type Handle = (payload: Payload) => number | Promise<number>;

/** A contestant's queue. Each payload is used once, so that every task can be counted. */
export interface OpenQueue {
  /** Resolves when the task is as safe as the contestant makes it. */
  add(payload: number): Promise<unknown>;
  /** At most a thousand tasks, by the contestant's own way for many. */
  addMany(payloads: readonly Payload[]): Promise<unknown>;
  /** Starts a worker; resolves when it listens. `stop` resolves when what was begun is settled. */
  work(concurrency: number, handle: Handle): Promise<{ stop(): Promise<unknown> }>;
  /** Adds a task and resolves with its result. */
  roundTrip?(payload: number): Promise<unknown>;
  /** How many tasks are not done; asked while no worker runs. */
  waiting?(): Promise<number>;
  /** The results that are stored, in any order. */
  storedResults?(): AsyncIterable<unknown>;
  close(): Promise<unknown>;
}
