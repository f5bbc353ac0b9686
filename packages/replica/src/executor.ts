// What runs commands: the contract between the components and whatever applies commands to the state, and the executor without a log.
import { isOmniQError, OmniQError } from "@omniq/core";
import { randomUUID } from "node:crypto";
import { apply } from "./apply.ts";
import type { AnswerOf, Command } from "./command.ts";
import { createState, type Journal, type ReplicaState } from "./state.ts";

/** What changed, for those who wait. `all`: anything may have (the state was loaded anew). */
export interface Changes {
  readonly queues: ReadonlySet<string>;
  readonly results: ReadonlySet<string>;
  /** Active tasks whose cancel was asked for. */
  readonly cancels: ReadonlySet<string>;
  readonly events: boolean;
  readonly all: boolean;
  /** Others can take what became ready too: how long this process should let those go first who rank before it. */
  readonly pauseMs?: number | undefined;
}

/** The state was loaded anew. */
export const allChanged: Changes = {
  queues: new Set(),
  results: new Set(),
  cancels: new Set(),
  events: true,
  all: true,
};

/**
 * Runs commands. One executor stands for one store.
 *
 * - Commands of one call are applied in order, each as if alone; a command that throws rejects the call, the others having taken effect.
 * - `execute` resolves when the commands are durable, as far as the executor is.
 */
export interface Executor {
  execute<const C extends readonly Command[]>(
    commands: C,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }>;
  /** The store's clock, as well as this process knows it. */
  now(): number;
  /** What this process knows of the state. To look at, never to change. */
  view(): ReplicaState;
  /** Calls the listener after commands changed the state, this process's or another's. Answers with a function that ends it. */
  subscribe(listener: (changes: Changes) => void): () => void;
  /** For whoever only listens: sees to it that changes of others are heard, where that begins with the first command else. */
  follow?(): void;
  /** Where the clock may jump by itself: how often waits look again. */
  readonly recheckMs?: number | undefined;
}

/** Calls many listeners; one that throws does not keep the others from being called. */
export class Listeners {
  readonly #listeners = new Set<(changes: Changes) => void>();

  add(listener: (changes: Changes) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
  notify(changes: Changes): void {
    for (const listener of [...this.#listeners]) listener(changes);
  }
  clear(): void {
    this.#listeners.clear();
  }
}

/** Takes what the journal says since it was last taken; `undefined` if nothing. */
export function takeChanges(journal: Journal): Changes | undefined {
  if (journal.queues.size === 0 && journal.results.size === 0 && journal.cancels.size === 0 && !journal.events)
    return undefined;
  const changes: Changes = {
    queues: new Set(journal.queues),
    results: new Set(journal.results),
    cancels: new Set(journal.cancels),
    events: journal.events,
    all: false,
  };
  journal.queues.clear();
  journal.results.clear();
  journal.cancels.clear();
  journal.events = false;
  return changes;
}

/** An error as data, for answers that are kept or sent. */
export interface CommandFailure {
  readonly code: OmniQError["code"];
  readonly message: string;
}
export function failureOf(error: unknown): CommandFailure {
  if (isOmniQError(error)) return { code: error.code, message: error.message };
  return {
    code: "OMNIQ_BACKEND_FAILED",
    message: `A command could not be applied: ${error instanceof Error ? error.message : String(error)}`,
  };
}

/** The executor without a log: commands are applied at once, to a state that lives as long as the process. */
export class LocalExecutor implements Executor {
  readonly recheckMs?: number;
  readonly #state: ReplicaState;
  readonly #clock: () => number;
  readonly #listeners: Listeners = new Listeners();

  /** `now`: the clock, where it is not the system's; waits then look at it every 20 ms. */
  constructor(options: { readonly now?: (() => number) | undefined; readonly eventTtlMs?: number | undefined } = {}) {
    this.#state = createState({ eventTtlMs: options.eventTtlMs });
    this.#clock = options.now ?? Date.now;
    if (options.now !== undefined) this.recheckMs = 20;
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    const commitId = randomUUID();
    const answers: unknown[] = [];
    let failure: unknown;
    for (const command of commands) {
      try {
        answers.push(apply(this.#state, command, this.#clock(), commitId));
      } catch (error) {
        failure ??= error;
        answers.push(undefined);
      }
    }
    const changes = takeChanges(this.#state.journal);
    if (changes !== undefined) this.#listeners.notify(changes);
    if (failure !== undefined) throw failure;
    return answers as never;
  }

  now(): number {
    return Math.max(this.#state.at, this.#clock());
  }
  view(): ReplicaState {
    return this.#state;
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#listeners.add(listener);
  }
}
