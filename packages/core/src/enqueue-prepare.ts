// From calls to what a task queue takes: options merged and checked, input validated and made into text, flows laid
// flat.
import type { Dependency, NewTask, TaskQueueCapabilities } from "./contracts/index.ts";
import { definitionOf, type Definition } from "./definition.ts";
import { encodeEnvelope, type ResolvedRetry } from "./envelope.ts";
import { maxDurationMs } from "./duration.ts";
import { isOmniQError, OmniQError } from "./errors.ts";
import { checkKey } from "./limits.ts";
import { checkCallOptions, checkTime } from "./option-checks.ts";
import type { TaskDefaults, TaskEnqueueOptions } from "./options.ts";
import { serializeWith, type Serializer } from "./serializer.ts";
import { gather, isPromise, parseWith } from "./standard-schema.ts";
import { newId } from "./task-id.ts";
import type { TaskCall } from "./task-definition.ts";

/** How long a given id stays known after its task is gone. */
export const rememberGivenMs = 86_400_000;
/** How long a generated id does: a resend after an ambiguous answer comes within it. */
export const rememberGeneratedMs = 600_000;

export interface PrepareContext {
  readonly capabilities: TaskQueueCapabilities;
  readonly defaults: TaskDefaults;
  readonly serializer: Serializer;
}

type CallOptions = TaskEnqueueOptions & { readonly dependsOn?: Readonly<Record<string, unknown>> };
interface Slot {
  readonly name: string;
  readonly many: boolean;
  readonly ids: readonly string[];
}
interface Node {
  readonly id: string;
  readonly generated: boolean;
  readonly inside: Definition;
  readonly input: unknown;
  readonly options: CallOptions;
  readonly where: string;
  readonly slots: readonly Slot[];
  readonly dependencies: readonly Dependency[];
}

/** All the tasks of one atomic call, what is depended on first, and the places of those that the user asked for. */
export interface PreparedCalls {
  readonly tasks: readonly NewTask[];
  /** Index into `tasks` of each call. */
  readonly roots: readonly number[];
  /** Ids that were made here: a `duplicate` answer for one is this client's own resend. */
  readonly generated: Pick<ReadonlySet<string>, "has">;
}

/** Prepares calls that are enqueued together. A promise only where a schema answers with one. */
export function prepareCalls(
  calls: readonly TaskCall<unknown>[],
  context: PrepareContext,
): PreparedCalls | Promise<PreparedCalls> {
  const nodes: Node[] = [];
  const known = new Map<TaskCall<unknown>, number>();
  const roots: number[] = [];
  const seenRoots = new Set<TaskCall<unknown>>();
  for (const call of calls) {
    // The same call object twice asks for two tasks; as a dependency it is one.
    if (seenRoots.has(call)) known.delete(call);
    seenRoots.add(call);
    roots.push(collect(call, nodes, known, new Set()));
  }
  refuseCycles(nodes);
  const parsed = gather(nodes, ({ inside, input, where }) => parseWith(inside.input, input, `The input ${where}`));
  const finish = (values: readonly unknown[]): PreparedCalls => ({
    tasks: nodes.map((node, index) => build(node, values[index], context)),
    roots,
    generated: new Set(nodes.filter((node) => node.generated).map((node) => node.id)),
  });
  return isPromise(parsed) ? parsed.then(finish) : finish(parsed);
}

const invalid = (message: string): OmniQError => new OmniQError("OMNIQ_INVALID_OPTION", message);

function collect(
  call: TaskCall<unknown>,
  nodes: Node[],
  known: Map<TaskCall<unknown>, number>,
  open: Set<TaskCall<unknown>>,
): number {
  const index = known.get(call);
  if (index !== undefined) return index;
  const inside = definitionOf((call as TaskCall<unknown> | undefined)?.task);
  if (inside === undefined)
    throw invalid("Only tasks made by defineTask can be enqueued; a call is made by task.with(input, options)");
  const where = `of task ${JSON.stringify(inside.name)}`;
  if (open.has(call)) throw invalid(`The dependencies ${where} go in a circle`);
  const options = (call.options ?? {}) as CallOptions;
  checkCallOptions(options, where);
  open.add(call);
  const edges = new Map<string, Dependency>();
  const depend = (source: unknown, onFailure: "fail" | "run", what: string, taskName?: string): string => {
    const id = sourceId(source, what, taskName, (nested) => (nodes[collect(nested, nodes, known, open)] as Node).id);
    if (edges.get(id)?.onFailure !== "fail") edges.set(id, { taskId: id, onFailure });
    return id;
  };
  const given = options.dependsOn ?? {};
  const slots: Slot[] = [];
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(inside.slots, name))
      throw invalid(`dependsOn.${name} ${where}: there is no such slot in its definition`);
  }
  for (const [name, slot] of Object.entries(inside.slots)) {
    const what = `dependsOn.${name} ${where}`;
    const source = Object.hasOwn(given, name) ? given[name] : undefined;
    if (slot.many !== Array.isArray(source))
      throw invalid(`${what} must be ${slot.many ? "an array of calls or handles" : "a call or a handle"}`);
    const sources = (slot.many ? source : [source]) as readonly unknown[];
    const ids = sources.map((one) => depend(one, slot.allowFailure ? "run" : "fail", what, slot.taskName));
    slots.push({ name, many: slot.many, ids });
  }
  for (const source of options.after ?? []) depend(source, "fail", `after ${where}`);
  open.delete(call);
  const id = options.id ?? newId();
  nodes.push({
    id,
    generated: options.id === undefined,
    inside,
    input: call.input,
    options,
    where,
    slots,
    dependencies: [...edges.values()],
  });
  known.set(call, nodes.length - 1);
  return nodes.length - 1;
}

function sourceId(
  source: unknown,
  what: string,
  taskName: string | undefined,
  nested: (call: TaskCall<unknown>) => string,
): string {
  if (typeof source === "string" && taskName === undefined) {
    checkKey(what, source);
    return source;
  }
  if (typeof source === "object" && source !== null) {
    const inside = definitionOf((source as { task?: unknown }).task);
    if (inside !== undefined) {
      if (taskName !== undefined && inside.name !== taskName) {
        throw invalid(`${what} takes the task ${JSON.stringify(taskName)}, not ${JSON.stringify(inside.name)}`);
      }
      return nested(source as TaskCall<unknown>);
    }
    const { id, result } = source as { id?: unknown; result?: unknown };
    if (typeof result === "function") {
      checkKey(what, id);
      return id;
    }
  }
  throw invalid(`${what} must be a call (task.with(...)) or a handle${taskName === undefined ? " or an id" : ""}`);
}

/** Given ids can point in a circle where objects do not. */
function refuseCycles(nodes: readonly Node[]): void {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const state = new Map<string, "open" | "done">();
  for (const start of nodes) {
    // An explicit stack: a chain of thousands of tasks is no reason to run out of it.
    const stack: { node: Node; next: number }[] = [];
    const enter = (node: Node): void => {
      state.set(node.id, "open");
      stack.push({ node, next: 0 });
    };
    if (!state.has(start.id)) enter(start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const edge = top.node.dependencies[top.next++];
      if (edge === undefined) {
        state.set(top.node.id, "done");
        stack.pop();
        continue;
      }
      if (state.get(edge.taskId) === "open") throw invalid(`The dependencies ${top.node.where} go in a circle`);
      const target = byId.get(edge.taskId);
      if (target && !state.has(target.id)) enter(target);
    }
  }
}

function build(node: Node, parsed: unknown, context: PrepareContext): NewTask {
  const { inside, options, where } = node;
  const { capabilities, defaults } = context;
  const shared = sharedPart(inside, options, node.slots, where, context);
  if (node.dependencies.length > 0) need(capabilities, "dependencies", "dependencies", where);
  const deduplicate = deduplication(node, parsed);
  if (deduplicate) need(capabilities, "deduplication", "deduplication", where);
  const group = groupOf(node, parsed);
  if (group) need(capabilities, "groups", "groups", where);
  return {
    ...shared,
    id: node.id,
    payload: payloadOf(node.input, where, context),
    ...times(node, defaults),
    rememberMs: rememberMsOf(node, shared.resultTtlMs, defaults),
    ...(deduplicate ? { deduplicate } : {}),
    ...(group ? { group } : {}),
    ...(node.dependencies.length > 0 ? { dependencies: node.dependencies } : {}),
  };
}

/** At least as long as the result is kept: a new task of the same id is run 1 again, and must not meet the result of the old one. */
function rememberMsOf(
  { generated, inside, options }: Node,
  resultTtlMs: number | null,
  defaults: TaskDefaults,
): number {
  const given = options.rememberMs ?? inside.options.rememberMs ?? defaults.rememberMs;
  if (generated && given === undefined) return rememberGeneratedMs;
  return atLeastResult(given ?? rememberGivenMs, resultTtlMs);
}

/** How long an id is remembered whose result is kept for so long. */
export function atLeastResult(rememberMs: number, resultTtlMs: number | null): number {
  return Math.max(rememberMs, resultTtlMs ?? maxDurationMs);
}

function need(
  capabilities: TaskQueueCapabilities,
  capability: keyof TaskQueueCapabilities,
  what: string,
  where: string,
): void {
  if (capabilities[capability] !== false) return;
  throw new OmniQError("OMNIQ_UNSUPPORTED", `This backend has no ${what}, which the options ${where} ask for`);
}

/** The input as text. */
export function payloadOf(input: unknown, where: string, { serializer, capabilities }: PrepareContext): string {
  let payload: string;
  try {
    payload = serializeWith(serializer, input);
  } catch (cause) {
    const reason = isOmniQError(cause) ? cause.message : "the serializer failed";
    throw new OmniQError("OMNIQ_SERIALIZATION_FAILED", `The input ${where} cannot be stored: ${reason}`, { cause });
  }
  // A UTF-16 unit has at most three bytes of UTF-8, so that small inputs need no count.
  if (payload.length * 3 <= capabilities.maxPayloadBytes) return payload;
  const bytes = Buffer.byteLength(payload);
  if (bytes > capabilities.maxPayloadBytes) {
    throw new OmniQError(
      "OMNIQ_INVALID_INPUT",
      `The input ${where} has ${bytes} bytes as text; this backend takes at most ${capabilities.maxPayloadBytes}. Store it elsewhere and pass a reference`,
    );
  }
  return payload;
}

/** What does not depend on the input: options merged, the envelope written. */
export function sharedPart(
  inside: Definition,
  options: CallOptions,
  givenSlots: readonly Slot[],
  where: string,
  { capabilities, defaults }: PrepareContext,
): Pick<NewTask, "name" | "queue" | "envelope" | "priority" | "maxAttempts" | "resultTtlMs"> {
  const layers = [defaults, inside.options, options] as const;
  const pick = <K extends "queue" | "priority" | "timeoutMs" | "resultTtlMs">(key: K): TaskDefaults[K] => {
    for (const layer of [...layers].reverse()) if (layer[key] !== undefined) return layer[key];
    return undefined;
  };
  const retry = mergeRetry(layers.map((layer) => layer.retry));
  const priority = pick("priority") ?? 0;
  if (priority !== 0) need(capabilities, "priorities", "priorities", where);
  const slots = Object.fromEntries(givenSlots.map(({ name, many, ids }) => [name, many ? ids : (ids[0] as string)]));
  const resultTtlMs = pick("resultTtlMs");
  const timeoutMs = pick("timeoutMs");
  return {
    name: inside.name,
    queue: pick("queue") ?? "default",
    envelope: encodeEnvelope({
      retry: retry.policy,
      timeoutMs: timeoutMs === undefined ? 3_600_000 : timeoutMs,
      headers: Object.assign({}, ...layers.map((layer) => layer.headers)) as Record<string, string>,
      ...(givenSlots.length > 0 ? { slots } : {}),
    }),
    priority,
    maxAttempts: retry.maxAttempts,
    resultTtlMs: resultTtlMs === undefined ? 86_400_000 : resultTtlMs,
  };
}

function mergeRetry(layers: readonly TaskDefaults["retry"][]): {
  readonly policy: ResolvedRetry;
  readonly maxAttempts: number;
} {
  const merged = {
    maxAttempts: 5,
    backoff: "exponential" as ResolvedRetry["backoff"],
    delayMs: 1_000,
    factor: 4,
    maxDelayMs: 3_600_000,
    jitter: 0.2,
  };
  for (const layer of layers) {
    for (const [key, value] of Object.entries(layer ?? {}))
      if (value !== undefined) Object.assign(merged, { [key]: value });
  }
  const { maxAttempts, ...policy } = merged;
  return { policy, maxAttempts };
}

function times(node: Node, defaults: TaskDefaults): Pick<NewTask, "runAt" | "delayMs" | "expiresAt" | "expiresInMs"> {
  const { inside, options, where } = node;
  const delayMs = options.delayMs ?? inside.options.delayMs ?? 0;
  const expiresInMs = options.expiresInMs ?? inside.options.expiresInMs ?? defaults.expiresInMs;
  return {
    ...(options.runAt !== undefined
      ? { runAt: checkTime(`runAt ${where}`, options.runAt) }
      : delayMs > 0
        ? { delayMs }
        : {}),
    ...(options.expiresAt !== undefined
      ? { expiresAt: checkTime(`expiresAt ${where}`, options.expiresAt) }
      : expiresInMs !== undefined
        ? { expiresInMs }
        : {}),
  };
}

function deduplication({ inside, options, where, dependencies }: Node, parsed: unknown): NewTask["deduplicate"] {
  const ofCall = options.deduplicate;
  const ofTask = inside.options.deduplicate;
  if (!ofCall && !ofTask) return undefined;
  const key = ofCall ? ofCall.key : ofTask?.key(parsed as never);
  checkKey(`deduplicate.key ${where}`, key);
  const { windowMs, mode = "keep" } = ofCall ?? ofTask ?? {};
  if (mode !== "keep" && dependencies.length > 0) {
    throw invalid(`deduplicate.mode ${JSON.stringify(mode)} ${where} cannot go together with dependencies; use "keep"`);
  }
  return windowMs === undefined ? { key, mode } : { key, mode, windowMs };
}

function groupOf({ inside, options, where }: Node, parsed: unknown): NewTask["group"] {
  const ofCall = options.group;
  const ofTask = inside.options.group;
  if (!ofCall && !ofTask) return undefined;
  const key = ofCall ? ofCall.key : ofTask?.key(parsed as never);
  checkKey(`group.key ${where}`, key);
  return { key, limit: (ofCall ?? ofTask)?.limit ?? 1 };
}
