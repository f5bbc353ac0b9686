// The inside of a task definition: what the client and the worker read, and users do not see.
import type { StandardSchemaV1 } from "./standard-schema.ts";
import type { TaskOptions } from "./options.ts";
import type { BatchHandler, BatchOptions, TaskContext } from "./task-definition.ts";

export interface SlotDefinition {
  readonly taskName: string;
  readonly many: boolean;
  readonly allowFailure: boolean;
}
export type AnyHandler = (input: unknown, context: TaskContext<any>) => unknown;
export type HandlerDefinition =
  | { readonly kind: "single"; readonly run: AnyHandler }
  | { readonly kind: "batch"; readonly options: BatchOptions; readonly run: BatchHandler<unknown, unknown, any> };

export interface Definition {
  readonly name: string;
  readonly input: StandardSchemaV1 | undefined;
  readonly output: StandardSchemaV1 | undefined;
  readonly slots: Readonly<Record<string, SlotDefinition>>;
  readonly options: TaskOptions & {
    readonly delayMs?: number | undefined;
    readonly expiresInMs?: number | undefined;
    readonly deduplicate?:
      | {
          readonly key: (input: never) => string;
          readonly windowMs?: number | undefined;
          readonly mode?: "keep" | "replace" | "extend" | undefined;
        }
      | undefined;
    readonly group?: { readonly key: (input: never) => string; readonly limit?: number | undefined } | undefined;
  };
  readonly handler: HandlerDefinition | undefined;
}

const key: unique symbol = Symbol.for("omniq.task-definition") as never;

/** Marks a task object with its inside. */
export function withDefinition<T extends object>(task: T, definition: Definition): T {
  return Object.defineProperty(task, key, { value: definition });
}

/** The inside of a task object, of any copy of this package; `undefined` for anything else. */
export function definitionOf(task: unknown): Definition | undefined {
  return typeof task === "object" && task !== null ? (task as Record<symbol, Definition | undefined>)[key] : undefined;
}
