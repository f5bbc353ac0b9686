// What surrounds a handler, in whatever thread it runs: the input is parsed, dependencies get their names, the output is checked.
import type { DependencyOutcome, StoredResult } from "../contracts/index.ts";
import type { Envelope } from "../envelope.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { Serializer } from "../serializer.ts";
import { describeIssues, type StandardResult, type StandardSchemaV1 } from "../standard-schema.ts";
import { outcomeOf } from "../task-outcome.ts";
import { AttemptFailed } from "./failures.ts";
import type { Workable } from "./registry.ts";

interface Named {
  readonly id: string;
  readonly name: string;
}

function validate<T>(
  schema: StandardSchemaV1,
  value: unknown,
  then: (result: StandardResult<unknown>) => T,
): T | Promise<T> {
  const result = schema["~standard"].validate(value);
  // Most schemas answer at once, and a needless await costs more than the check.
  return result instanceof Promise ? result.then(then) : then(result);
}

/**
 * The input as the handler gets it. Throws {@link AttemptFailed} with `OMNIQ_INVALID_INPUT`, or for good with `OMNIQ_SERIALIZATION_FAILED`:
 * a payload that cannot be read today cannot be read tomorrow.
 */
export function parseInput(task: Named, definition: Workable, serializer: Serializer, payload: string): unknown {
  let value: unknown;
  try {
    value = serializer.deserialize(payload);
  } catch (cause) {
    throw new AttemptFailed(
      "OMNIQ_SERIALIZATION_FAILED",
      `The payload of ${task.id} (${task.name}) cannot be read; producers and workers need the same serializer`,
      { cause, taskId: task.id, permanent: true },
    );
  }
  if (definition.input === undefined) return value;
  const invalid = (detail: string, cause?: unknown): AttemptFailed =>
    new AttemptFailed(
      "OMNIQ_INVALID_INPUT",
      `The input of ${task.id} (${task.name}) does not fit the task's schema: ${detail}`,
      { cause, taskId: task.id },
    );
  try {
    const parsed = validate(definition.input, value, (result) => {
      if (result.issues !== undefined) throw invalid(describeIssues(result.issues, value));
      return result.value;
    });
    return parsed instanceof Promise
      ? parsed.catch((error: unknown) => {
          throw error instanceof AttemptFailed ? error : invalid("the schema threw", error);
        })
      : parsed;
  } catch (error) {
    throw error instanceof AttemptFailed ? error : invalid("the schema threw", error);
  }
}

/** Checks an output against the task's schema, and changes nothing. Throws {@link AttemptFailed}. */
export function checkOutput(task: Named, definition: Workable, output: unknown): void | Promise<void> {
  if (definition.output === undefined) return undefined;
  return validate(definition.output, output, (result): void => {
    if (result.issues !== undefined) {
      throw new AttemptFailed(
        "OMNIQ_TASK_FAILED",
        `The output of ${task.id} (${task.name}) does not fit the task's schema: ${describeIssues(result.issues, output)}`,
        { taskId: task.id },
      );
    }
  });
}

/**
 * The output as text; nothing for `undefined`. Throws {@link AttemptFailed} with `OMNIQ_SERIALIZATION_FAILED`, for good: the work is done, and
 * doing it again would end alike.
 */
export function outputText(task: Named, serializer: Serializer, output: unknown, maxBytes: number): string | undefined {
  if (output === undefined) return undefined;
  const refuse = (detail: string, cause?: unknown): AttemptFailed =>
    new AttemptFailed("OMNIQ_SERIALIZATION_FAILED", `The output of ${task.id} (${task.name}) ${detail}`, {
      cause,
      taskId: task.id,
      permanent: true,
    });
  let text: string;
  try {
    text = serializer.serialize(output);
  } catch (cause) {
    throw refuse("cannot be serialized; return plain data", cause);
  }
  if (typeof text !== "string") throw refuse("cannot be serialized; return plain data");
  // A UTF-16 unit has at most three bytes of UTF-8, so that small outputs need no count.
  if (text.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > maxBytes)
      throw refuse(
        `has ${bytes} bytes; the storage takes ${maxBytes}. Keep large data elsewhere and return where it is`,
      );
  }
  return text;
}

const none: Readonly<Record<string, unknown>> = Object.freeze({});

/**
 * Dependencies under the names of their slots: outputs, or outcomes where failure is allowed. Throws {@link AttemptFailed}, for good: with
 * `OMNIQ_DEPENDENCY_FAILED` where a required one did not complete or is not known, so that no handler runs with `undefined` in its place, with
 * `OMNIQ_SERIALIZATION_FAILED` where its output cannot be read.
 */
export function dependencyValues(
  task: Named,
  definition: Workable,
  envelope: Pick<Envelope, "slots">,
  outcomes: readonly DependencyOutcome[],
  serializer: Serializer,
): Readonly<Record<string, unknown>> {
  const { slots = {} } = envelope;
  const definitions = Object.entries(definition.slots);
  if (definitions.length === 0) return none;
  const byId = new Map(outcomes.map((outcome) => [outcome.taskId, outcome]));
  // A dependency that was deduplicated comes under its holder's id, at the place that the call gave it: slots first.
  const ordered = [...new Set(Object.values(slots).flat())];
  const refuse = (code: "OMNIQ_DEPENDENCY_FAILED" | "OMNIQ_SERIALIZATION_FAILED", what: string, cause?: unknown) =>
    new AttemptFailed(code, `The task ${task.id} (${task.name}) cannot run: its dependency ${what}`, {
      cause,
      taskId: task.id,
      permanent: true,
    });
  const values: Record<string, unknown> = {};
  for (const [name, slot] of definitions) {
    const read = (id: string): unknown => {
      const outcome = byId.get(id) ?? outcomes[ordered.indexOf(id)];
      if (!slot.allowFailure && outcome?.status !== "completed") {
        const became = outcome === undefined ? "has no known outcome" : `is ${outcome.status}`;
        throw refuse("OMNIQ_DEPENDENCY_FAILED", `${id} (${name}) ${became}`);
      }
      if (outcome === undefined) {
        const error = new OmniQError("OMNIQ_DEPENDENCY_FAILED", `The outcome of ${id} is not known`, { taskId: id });
        return { status: "failed", error, attempt: 0, finishedAt: 0 };
      }
      try {
        if (slot.allowFailure)
          return outcomeOf(
            { name: slot.taskName, queue: "", expiresAt: null, ...outcome } satisfies StoredResult,
            serializer,
          );
        return outcome.value === undefined ? undefined : serializer.deserialize(outcome.value);
      } catch (cause) {
        throw refuse("OMNIQ_SERIALIZATION_FAILED", `${id} (${name}) has an output that cannot be read`, cause);
      }
    };
    const ids = Object.hasOwn(slots, name) ? slots[name] : undefined;
    if (ids === undefined && !slot.many)
      throw refuse("OMNIQ_DEPENDENCY_FAILED", `${JSON.stringify(name)} was not given when it was enqueued`);
    const value = Array.isArray(ids) ? ids.map(read) : typeof ids === "string" ? read(ids) : [];
    Object.defineProperty(values, name, { value, enumerable: true, configurable: true, writable: true });
  }
  return values;
}

/** What a batch handler gave for each task, or a failure of all where it gave something else. */
export function batchOutputs(name: string, count: number, outputs: unknown): readonly unknown[] {
  if (Array.isArray(outputs) && outputs.length === count) return outputs;
  throw new Error(
    `The batch handler of ${JSON.stringify(name)} must return an array with one entry for each of its ${count} tasks`,
  );
}

/** True for an entry that fails or retries its task. */
export function isBatchFailure(output: unknown): output is OmniQError {
  return isOmniQError(output);
}
