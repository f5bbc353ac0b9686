// Enqueueing: turns calls into columns, and the server's answers into receipts.
import type { EnqueueAnswer, EnqueueCall, EnqueueReceipt, NewEvent, NewTask } from "@omniq/core";
import { OmniQError } from "@omniq/core";
import { type Cell, checkNumber, checkText, Columns, wholeMs as whole } from "./columns.ts";
import { readList } from "./connection.ts";
import { eventColumns } from "./event-rows.ts";

/** A call with keys or dependencies is worked on step by step; so many tasks of such calls go in one statement. */
const maxStepwise = 250;

/** Calls that go in one statement: all plain, or worked on one after the other. `indexes` are their places among all calls. */
export interface EnqueueBatch {
  readonly plain: boolean;
  readonly calls: readonly EnqueueCall[];
  readonly indexes: readonly number[];
}

/** Characters of the tasks that go in one statement, unless a call alone has more. */
const maxCharacters = 33_554_432;
/** Of one call: it is one statement, and a text of JavaScript ends at half a gigabyte, a parameter of PostgreSQL at one. */
const maxCallCharacters = 268_435_456;

function charactersOf(call: EnqueueCall): number {
  let sum = 0;
  for (const task of call.tasks) {
    sum += task.payload.length + task.envelope.length;
    for (const { outcome } of task.dependencies ?? [])
      sum += (outcome?.value?.length ?? 0) + (outcome?.error?.length ?? 0);
  }
  for (const event of call.events ?? []) sum += event.data?.length ?? 0;
  if (sum > maxCallCharacters)
    throw new OmniQError(
      "OMNIQ_INVALID_INPUT",
      `The tasks of one call have ${sum} characters in all; PostgreSQL takes ${maxCallCharacters} at once. Enqueue them in several calls`,
    );
  return sum;
}

/** Cuts calls into batches. In a transaction of the user's nothing is plain: the fast way tells its own rows by the transaction. */
export function cutBatches(calls: readonly EnqueueCall[], inTransaction: boolean): readonly EnqueueBatch[] {
  const plain = !inTransaction && calls.every(isPlain) && !hasRepeatedId(calls);
  const batches: EnqueueBatch[] = [];
  let batch: { calls: EnqueueCall[]; indexes: number[] } = { calls: [], indexes: [] };
  let tasks = 0;
  let characters = 0;
  for (const [index, call] of calls.entries()) {
    const size = charactersOf(call);
    const full = characters + size > maxCharacters || (!plain && tasks + call.tasks.length > maxStepwise);
    if (tasks > 0 && full) {
      batches.push({ plain, ...batch });
      batch = { calls: [], indexes: [] };
      tasks = 0;
      characters = 0;
    }
    batch.calls.push(call);
    batch.indexes.push(index);
    tasks += call.tasks.length;
    characters += size;
  }
  batches.push({ plain, ...batch });
  return batches;
}

function isPlain(call: EnqueueCall): boolean {
  return call.tasks.every(
    (task) => task.deduplicate === undefined && (task.dependencies === undefined || task.dependencies.length === 0),
  );
}

function hasRepeatedId(calls: readonly EnqueueCall[]): boolean {
  const ids = new Set<string>();
  let count = 0;
  for (const call of calls) {
    for (const task of call.tasks) {
      ids.add(task.id);
      count++;
    }
  }
  return ids.size !== count;
}

/** For one plain task that is due now, without events. `undefined` for all else. */
function oneStatement(
  { calls, plain }: EnqueueBatch,
  notice: readonly [channel: string, text: string] | undefined,
): { readonly text: string; readonly values: unknown[] } | undefined {
  const [call] = calls;
  if (!plain || calls.length !== 1 || call?.tasks.length !== 1 || (call.events?.length ?? 0) > 0) return undefined;
  const task = call.tasks[0] as NewTask;
  if ((task.runAt ?? task.delayMs ?? task.expiresAt ?? task.expiresInMs ?? task.group) !== undefined) return undefined;
  const { id, name, queue, payload, envelope, priority, maxAttempts } = task;
  const numbers = [priority, maxAttempts, whole(task.resultTtlMs), whole(task.rememberMs)];
  numbers.forEach(checkNumber);
  checkText(payload);
  checkText(envelope);
  const values: unknown[] = [id, name, queue, payload, envelope, ...numbers];
  if (notice === undefined) return { text: one, values };
  values.push(notice[0], notice[1]);
  return { text: oneTold, values };
}

const enqueueOne = "{s}.enqueue_one($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const one = `SELECT to_json(${enqueueOne})::text AS answer`;
const oneTold = `CALL {s}.commit_and_tell(${enqueueOne}, $10, $11, NULL)`;

/** A batch's statement and values. `notice`: the channel and text of a notification that the server sends once it has committed. */
export function enqueueStatement(
  batch: EnqueueBatch,
  notice?: readonly [channel: string, text: string],
): { readonly text: string; readonly values: unknown[] } {
  const single = oneStatement(batch, notice);
  if (single !== undefined) return single;
  const tasks = batch.calls.flatMap((call) => call.tasks);
  const events: NewEvent[] = [];
  const owners: number[] = [];
  for (const [index, call] of batch.calls.entries()) {
    for (const event of call.events ?? []) {
      events.push(event);
      owners.push(index);
    }
  }
  const columns = new Columns();
  if (!batch.plain)
    columns.of(
      "bigint",
      batch.calls.flatMap((call, index) => call.tasks.map(() => index)),
    );
  taskColumns(columns, tasks, batch.plain);
  if (!batch.plain) {
    columns
      .text(tasks.map((task) => task.deduplicate?.key))
      .of(
        "bigint",
        tasks.map((task) => whole(task.deduplicate?.windowMs)),
      )
      .text(tasks.map((task) => task.deduplicate?.mode));
    dependencyColumns(columns, tasks);
  }
  if (events.length > 0) eventColumns(columns, events, owners);
  const { list, values } = columns.build();
  const call = `{s}.${batch.plain ? "enqueue_plain" : "enqueue"}(${list})`;
  if (notice === undefined) return { text: `SELECT to_json(${call})::text AS answer`, values };
  const [channel, text] = [`$${values.length + 1}`, `$${values.length + 2}`];
  return { text: `CALL {s}.commit_and_tell(${call}, ${channel}, ${text}, NULL)`, values: [...values, ...notice] };
}

/** `short`: a column of which all values are equal may go as one. */
function taskColumns(columns: Columns, tasks: readonly NewTask[], short: boolean): void {
  const column = (pick: (task: NewTask) => Cell): readonly Cell[] => columnOf(tasks, pick, false);
  const same = (pick: (task: NewTask) => Cell): readonly Cell[] => columnOf(tasks, pick, short);
  columns
    .text(column((task) => task.id))
    .text(same((task) => task.name))
    .text(same((task) => task.queue))
    .text(column((task) => task.payload))
    .text(same((task) => task.envelope))
    .of(
      "bigint",
      same((task) => task.priority),
    )
    .of(
      "bigint",
      same((task) => task.maxAttempts),
    )
    .of(
      "bigint",
      column((task) => whole(task.runAt)),
    )
    .of(
      "bigint",
      column((task) => whole(task.delayMs)),
    )
    .of(
      "bigint",
      column((task) => whole(task.expiresAt)),
    )
    .of(
      "bigint",
      column((task) => whole(task.expiresInMs)),
    )
    .of(
      "bigint",
      same((task) => whole(task.resultTtlMs)),
    )
    .of(
      "bigint",
      same((task) => whole(task.rememberMs)),
    )
    .text(column((task) => task.group?.key))
    .of(
      "bigint",
      column((task) => task.group?.limit),
    );
}

/** A column that nobody has a value in has no cells, and one of one value has one if that is `short`; empty text has no short form. */
function columnOf(tasks: readonly NewTask[], pick: (task: NewTask) => Cell, short: boolean): readonly Cell[] {
  const [task] = tasks;
  if (task === undefined) return [];
  const first = pick(task);
  const none = first === undefined || first === null;
  if (none || (short && first !== "")) {
    // No array is made of what is mostly so.
    if (tasks.every((one) => pick(one) === first)) return none ? [] : [first];
  }
  return tasks.map(pick);
}

function dependencyColumns(columns: Columns, tasks: readonly NewTask[]): void {
  const edges = tasks.flatMap((task, index) => (task.dependencies ?? []).map((edge) => ({ edge, owner: index + 1 })));
  columns
    .of(
      "bigint",
      edges.map(({ owner }) => owner),
    )
    .text(edges.map(({ edge }) => edge.taskId))
    .of(
      "boolean",
      edges.map(({ edge }) => edge.onFailure === "run"),
    )
    .text(edges.map(({ edge }) => edge.outcome?.status))
    .of(
      "bigint",
      edges.map(({ edge }) => edge.outcome?.run),
    )
    .of(
      "bigint",
      edges.map(({ edge }) => edge.outcome?.attempt),
    )
    .of(
      "bigint",
      edges.map(({ edge }) => whole(edge.outcome?.finishedAt)),
    )
    .text(edges.map(({ edge }) => edge.outcome?.value))
    .text(edges.map(({ edge }) => edge.outcome?.error));
}

/** Reads the answer of {@link enqueueStatement} into the answers of all calls. */
export function readAnswer(batch: EnqueueBatch, text: string | null, answers: EnqueueAnswer[]): void {
  const flat = readList(text);
  if (batch.plain) {
    const known = new Set(flat);
    for (const [index, call] of batch.calls.entries()) {
      const receipts = call.tasks.map(({ id }): EnqueueReceipt => ({
        id,
        state: known.has(id) ? "duplicate" : "enqueued",
      }));
      answers[batch.indexes[index] as number] = { state: "accepted", receipts };
    }
    return;
  }
  const unknown = new Map<number, readonly string[]>();
  const byTask = new Map<number, EnqueueReceipt>();
  for (let at = 0; at < flat.length; at += 3) {
    const [order, second, third] = flat.slice(at, at + 3) as [string, string, string];
    if (order === "0") unknown.set(Number(second), JSON.parse(third) as string[]);
    else byTask.set(Number(order), { id: second, state: third as EnqueueReceipt["state"] });
  }
  let order = 0;
  for (const [index, call] of batch.calls.entries()) {
    const receipts = call.tasks.map(() => byTask.get(++order) as EnqueueReceipt);
    const taskIds = unknown.get(index);
    answers[batch.indexes[index] as number] =
      taskIds === undefined ? { state: "accepted", receipts } : { state: "unknown-dependencies", taskIds };
  }
}
