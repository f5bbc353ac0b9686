// What crosses between a worker and the thread or process that runs its handlers. Everything is plain, cloneable data.
import type { DependencyOutcome } from "../contracts/index.ts";

/** One task as the other side gets it; texts are by the default serializer. */
export interface RemoteTask {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly enqueuedAt: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string;
  readonly slots: Readonly<Record<string, string | readonly string[]>> | undefined;
  readonly dependencies: readonly DependencyOutcome[];
}

/** One attempt, or one batch. `port` only between threads; processes have their own channel, where `id` tells attempts apart. */
export interface RemoteAttempt {
  readonly id: number;
  readonly modules: readonly string[];
  readonly tasks: readonly RemoteTask[];
  readonly batch: boolean;
  readonly maxValueBytes: number;
  readonly port?: import("node:worker_threads").MessagePort | undefined;
}

export type RemoteOutcome =
  | { readonly ok: true; readonly value: string | undefined }
  | { readonly ok: false; readonly error: string; readonly permanent: boolean; readonly delayMs: number | undefined };

/** A call of a handler's that only the worker's side can make; answered with {@link RemoteAnswer}. */
export type RemoteCall =
  | { readonly verb: "enqueue"; readonly calls: readonly PlainCall[]; readonly many: boolean }
  | {
      readonly verb: "result" | "outcome" | "status" | "cancel";
      readonly taskId: string;
      readonly timeoutMs?: number | undefined;
    };

/** To the worker's side. `index` is the task's place in a batch. */
export type FromRemote =
  | {
      readonly omniq: number;
      readonly type: "log";
      readonly index: number;
      readonly level: "debug" | "info" | "warn" | "error";
      readonly message: string;
      readonly fields: string | undefined;
    }
  | {
      readonly omniq: number;
      readonly type: "progress";
      readonly index: number;
      readonly fraction: number;
      readonly message: string | undefined;
    }
  | { readonly omniq: number; readonly type: "call"; readonly call: number; readonly what: RemoteCall };

/** To the handler's side. */
export type ToRemote =
  | { readonly omniq: number; readonly type: "abort"; readonly index: number; readonly reason: string }
  | {
      readonly omniq: number;
      readonly type: "answer";
      readonly call: number;
      readonly ok: boolean;
      readonly value: string;
    };

/** A task call without its functions: the input checked, keys computed, the definition's options merged in. */
export interface PlainCall {
  readonly name: string;
  readonly input: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly slots: Readonly<
    Record<string, { readonly taskName: string; readonly many: boolean; readonly allowFailure: boolean }>
  >;
  readonly dependsOn: Readonly<Record<string, PlainSource | readonly PlainSource[]>> | undefined;
  readonly after: readonly PlainSource[] | undefined;
}
export type PlainSource = { readonly call: PlainCall } | { readonly taskId: string };

type Fields = Readonly<Record<string, unknown>>;
function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null ? (value as Fields) : undefined;
}
const levels: ReadonlySet<unknown> = new Set(["debug", "info", "warn", "error"]);

/** A handler can send anything by `process.send`; `undefined` for what is no message of ours. */
export function fromRemote(value: unknown): FromRemote | undefined {
  const message = fieldsOf(value);
  if (message === undefined || typeof message["omniq"] !== "number") return undefined;
  if (message["type"] === "call")
    return typeof message["call"] === "number" && fieldsOf(message["what"]) !== undefined
      ? (message as FromRemote)
      : undefined;
  if (
    !Number.isInteger(message["index"]) ||
    !(message["message"] === undefined || typeof message["message"] === "string")
  )
    return undefined;
  if (message["type"] === "progress") {
    const { fraction } = message as { readonly fraction?: unknown };
    return typeof fraction === "number" && fraction >= 0 && fraction <= 1 ? (message as FromRemote) : undefined;
  }
  if (message["type"] !== "log" || !levels.has(message["level"]) || message["message"] === undefined) return undefined;
  return message["fields"] === undefined || typeof message["fields"] === "string" ? (message as FromRemote) : undefined;
}

/** As {@link fromRemote}, on the handler's side. */
export function toRemote(value: unknown): ToRemote | undefined {
  const message = fieldsOf(value);
  if (message === undefined || typeof message["omniq"] !== "number") return undefined;
  if (message["type"] === "abort")
    return Number.isInteger(message["index"]) && typeof message["reason"] === "string"
      ? (message as ToRemote)
      : undefined;
  return message["type"] === "answer" && typeof message["call"] === "number" && typeof message["value"] === "string"
    ? (message as ToRemote)
    : undefined;
}

/** The outcomes of an attempt with so many tasks; `undefined` for anything else. */
export function remoteOutcomes(value: unknown, count: number): readonly RemoteOutcome[] | undefined {
  if (!Array.isArray(value) || value.length !== count) return undefined;
  const good = value.every((one: unknown) => {
    const outcome = fieldsOf(one);
    if (outcome === undefined) return false;
    if (outcome["ok"] === true) return outcome["value"] === undefined || typeof outcome["value"] === "string";
    const { delayMs } = outcome;
    return (
      outcome["ok"] === false &&
      typeof outcome["error"] === "string" &&
      typeof outcome["permanent"] === "boolean" &&
      (delayMs === undefined || (Number.isSafeInteger(delayMs) && (delayMs as number) >= 0))
    );
  });
  return good ? (value as readonly RemoteOutcome[]) : undefined;
}
