// What rides in a commit: the calls that wait, heartbeats first, up to about the size of one.
import type { WriteCommand } from "./command.ts";
import type { OperationAnswer } from "./machine.ts";

/** A call, or a part of a large one, that waits for its commit. */
export interface Pending {
  readonly commands: readonly WriteCommand[];
  /** About its bytes in the log. */
  readonly bytes: number;
  readonly resolve: (answers: readonly OperationAnswer[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** How many bytes of commands ride in one commit, at most about, where nothing else is said. */
const defaultBytes = 524_288;
/** A call of more bytes than this is cut into several commits, where its items stand for themselves. */
export const cutBytes = 16_777_216;

export const isHeartbeat = ({ verb }: WriteCommand): boolean => verb === "extend";

/** Takes the calls of the next commit out of those that wait. Heartbeats first: none may lose its lease behind much else. */
export function takeRiders(waiting: Pending[], commitBytes: number = defaultBytes): readonly Pending[] {
  const rank = ({ commands }: Pending): number => (commands.some(isHeartbeat) ? 0 : 1);
  waiting.sort((a, b) => rank(a) - rank(b));
  let bytes = 0;
  let count = 0;
  for (const pending of waiting) {
    bytes += pending.bytes;
    if (count > 0 && bytes > commitBytes) break;
    count++;
  }
  return waiting.splice(0, count);
}

/** About how many bytes the JSON of a value has. Escapes are not counted, so it may have up to six times as many. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value) + 3;
  if (typeof value !== "object" || value === null) return 6;
  let bytes = 2;
  if (Array.isArray(value)) for (const item of value) bytes += sizeOf(item) + 1;
  // Every field of a command is its own.
  else for (const key in value) bytes += key.length + 4 + sizeOf((value as Readonly<Record<string, unknown>>)[key]);
  return bytes;
}

/** A part of a command that is a command by itself. */
export interface Part {
  readonly command: WriteCommand;
  readonly bytes: number;
}

/** The parts of a command that is too large for one commit: each has as many items as fit, or a single one. Others are one part. */
export function cutCommand(command: WriteCommand, most: number = cutBytes): readonly Part[] {
  const whole = sizeOf(command);
  const cut = whole > most ? itemsOf(command) : undefined;
  if (cut === undefined || cut.items.length < 2) return [{ command, bytes: whole }];
  const parts: Part[] = [];
  let from = 0;
  let bytes = 0;
  for (const [index, item] of cut.items.entries()) {
    const size = sizeOf(item);
    if (index > from && bytes + size > most) {
      parts.push({ command: cut.of(from, index), bytes });
      from = index;
      bytes = 0;
    }
    bytes += size;
  }
  parts.push({ command: cut.of(from, cut.items.length), bytes });
  return parts;
}

interface Items {
  readonly items: readonly unknown[];
  of(from: number, to: number): WriteCommand;
}
/** What a command does item by item, each as if alone. */
function itemsOf(command: WriteCommand): Items | undefined {
  if (command.verb === "enqueue")
    return { items: command.calls, of: (from, to) => ({ ...command, calls: command.calls.slice(from, to) }) };
  if (command.verb === "settle") {
    const { settlements } = command;
    return { items: settlements, of: (from, to) => ({ ...command, settlements: settlements.slice(from, to) }) };
  }
  if (command.verb === "putResults")
    return { items: command.results, of: (from, to) => ({ ...command, results: command.results.slice(from, to) }) };
  if (command.verb === "appendEvents")
    return { items: command.events, of: (from, to) => ({ ...command, events: command.events.slice(from, to) }) };
  if (command.verb === "extend")
    return { items: command.leases, of: (from, to) => ({ ...command, leases: command.leases.slice(from, to) }) };
  return undefined;
}

/** The answer of a command that was cut: its parts' answers in a row, or the first failure. */
export function joinAnswers(answers: readonly OperationAnswer[]): OperationAnswer {
  const [first] = answers;
  if (answers.length === 1 && first !== undefined) return first;
  const failed = answers.find((answer) => "failure" in answer);
  if (failed !== undefined) return failed;
  const values = answers.map((answer) => ("value" in answer ? answer.value : null));
  return { value: values.every(Array.isArray) ? values.flat() : null };
}
