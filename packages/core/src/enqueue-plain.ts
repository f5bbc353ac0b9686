// The quick way from a call to a task: calls without options, of definitions whose options do not depend on the input.
import type { NewTask } from "./contracts/index.ts";
import { definitionOf, type Definition } from "./definition.ts";
import { atLeastResult, payloadOf, rememberGeneratedMs, sharedPart, type PrepareContext } from "./enqueue-prepare.ts";
import { isPromise, parseWith } from "./standard-schema.ts";
import { newId } from "./task-id.ts";

interface Template {
  readonly where: string;
  readonly shared: ReturnType<typeof sharedPart>;
  readonly rememberMs: number;
}

/** Merges and checks a definition's options once, not for each task. */
export class PlainTasks {
  readonly #context: PrepareContext;
  /** `null`: this definition needs the long way. */
  readonly #templates = new WeakMap<Definition, Template | null>();

  constructor(context: PrepareContext) {
    this.#context = context;
  }

  /** Whether calls of this task without options can go the quick way. */
  takes(task: unknown): boolean {
    const inside = definitionOf(task);
    return inside !== undefined && this.#of(inside) !== null;
  }

  /** The task, or `undefined` where the call must go the long way. Throws as `prepareCalls` does; a promise only where the schema answers with one. */
  make(task: unknown, input: unknown): NewTask | Promise<NewTask> | undefined {
    const inside = definitionOf(task);
    if (inside === undefined) return undefined;
    const template = this.#of(inside);
    if (template === null) return undefined;
    // The text of the message is made only where there is something to say.
    const parsed = parseWith(inside.input, input, () => `The input ${template.where}`);
    return isPromise(parsed) ? parsed.then(() => this.#build(template, input)) : this.#build(template, input);
  }

  #of(inside: Definition): Template | null {
    let template = this.#templates.get(inside);
    if (template === undefined) {
      template = this.#template(inside);
      this.#templates.set(inside, template);
    }
    return template;
  }

  #build({ where, shared, rememberMs }: Template, input: unknown): NewTask {
    const { name, queue, envelope, priority, maxAttempts, resultTtlMs } = shared;
    const payload = payloadOf(input, where, this.#context);
    return { id: newId(), name, queue, payload, envelope, priority, maxAttempts, resultTtlMs, rememberMs };
  }

  #template(inside: Definition): Template | null {
    const { deduplicate, group, delayMs, expiresInMs } = inside.options;
    const timed = delayMs ?? expiresInMs ?? this.#context.defaults.expiresInMs;
    if (deduplicate || group || timed !== undefined || Object.keys(inside.slots).length > 0) return null;
    const where = `of task ${JSON.stringify(inside.name)}`;
    const shared = sharedPart(inside, {}, [], where, this.#context);
    const given = inside.options.rememberMs ?? this.#context.defaults.rememberMs;
    return {
      where,
      shared,
      rememberMs: given === undefined ? rememberGeneratedMs : atLeastResult(given, shared.resultTtlMs),
    };
  }
}
