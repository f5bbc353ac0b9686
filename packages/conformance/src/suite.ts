// A case as data: which rule it proves and how, so that a runner, a meta-test and the broken queues can all use it.
import type { BackendBase, Components } from "@omniq/core";
import type { Rule } from "./rules.ts";

export type AnyBackend = BackendBase & { readonly [K in keyof Components]?: () => Components[K] };

/** What can be damaged: a stored task, a result, an event, a schedule, each by its id (a result by its task's). */
export type DamageKind = "task" | "result" | "event" | "schedule";

/** What a case works with. One namespace of its own; everything that it opens is closed after it. */
export interface World {
  readonly namespace: string;
  /** The first connection to the namespace. */
  readonly backend: AnyBackend;
  /** Another connection: to the same namespace, or to another one. */
  open(namespace?: string): Promise<AnyBackend>;
  readonly clock: Clock;
  /** Starts a consumer process on the namespace; `undefined` where the backend's reach is this process. */
  readonly processes: Processes | undefined;
  /** `undefined` where the adapter's test can not do that. */
  readonly outage: { stop(): Promise<void>; start(): Promise<void> } | undefined;
  /** Restarts or reopens everything on the namespace, as after the death of all processes; `undefined` for memory. */
  readonly reopen: (() => Promise<AnyBackend>) | undefined;
  /** Closes everything on the namespace, makes what is stored under these ids unreadable, and opens it again. `undefined` where the adapter's test can not do that. */
  readonly damage?: ((kind: DamageKind, ids: readonly string[]) => Promise<AnyBackend>) | undefined;
  /** Runs `body` in a transaction of the user's: commits, or rolls back and rejects when it throws. `undefined` where there are none. */
  readonly transaction?: (<T>(body: (transaction: unknown) => T) => Promise<Awaited<T>>) | undefined;
}

/** The store's clock. `controlled`: `pass` moves it at once; else `pass` waits, and a case should ask for little. */
export interface Clock {
  readonly controlled: boolean;
  now(): number;
  pass(ms: number): Promise<void>;
}

/** Runs `program` (a name in programs/) with JSON data in real processes of its own on the world's namespace. */
export interface Processes {
  run(program: string, data: unknown): Promise<unknown>;
  start(
    program: string,
    data: unknown,
  ): Promise<{ readonly lines: AsyncIterable<unknown>; kill(): void; readonly done: Promise<unknown> }>;
}

export interface Case<Component> {
  readonly rule: Rule;
  readonly title: string;
  /** Why it can not run here, if so: `(world, component) => component.capabilities.groups ? undefined : "no groups"`. */
  readonly unless?: ((world: World, component: Component) => string | undefined) | undefined;
  readonly timeoutMs?: number | undefined;
  run(component: Component, world: World): Promise<void>;
}
