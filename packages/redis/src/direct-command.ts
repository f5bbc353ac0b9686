// A command that ioredis sends as it is, and whose caller is told in the turn in which the answer comes. What ioredis does for commands of any
// kind (arguments flattened and looked at, promises, transformers) costs more than all else in a call, and most in a process that is mostly idle.
import { tracingChannel } from "node:diagnostics_channel";
import { Command } from "ioredis";

/** Told of the end of a command: one of both is called, once. */
export interface Told {
  /** Without it the answer is not even read. */
  readonly done: ((answer: unknown) => void) | undefined;
  readonly fail: (error: unknown) => void;
}

const traces = tracingChannel("ioredis:command") as { readonly hasSubscribers?: boolean };

/** Whether nobody traces commands: ioredis tells of those of its own only. */
export function isUntraced(): boolean {
  return traces.hasSubscribers === false;
}

/** It is a `Command` by its prototype, so that ioredis finds all that it may ask of one, but has what one needs on its way and no more. */
export class DirectCommand {
  readonly name: string;
  readonly args: readonly (string | number)[];
  readonly inTransaction = false;
  readonly isTraced = true;
  readonly promise: undefined = undefined;
  readonly #head: string;
  #told: Told | undefined;

  /** `head`: what comes between the number of arguments and `args`, as it is sent, with `before` arguments in it, the name included. */
  constructor(name: string, head: string, before: number, args: readonly (string | number)[], told: Told) {
    this.name = name;
    this.args = args;
    this.#head = `*${before + args.length}\r\n${head}`;
    this.#told = told;
  }

  toWritable(): string {
    let text = this.#head;
    for (const arg of this.args) text += argumentText(String(arg));
    return text;
  }

  resolve(answer: unknown): void {
    const told = this.#told;
    this.#told = undefined;
    if (told === undefined) return;
    try {
      told.done?.(answer);
    } catch (error) {
      told.fail(error);
    }
  }

  reject(error: unknown): void {
    const told = this.#told;
    this.#told = undefined;
    told?.fail(error);
  }
}
Object.setPrototypeOf(DirectCommand.prototype, Command.prototype as object);

/** An argument as it is sent. */
export function argumentText(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** Strings in place of the bytes that ioredis reads. */
export function textOf(answer: unknown): unknown {
  if (answer instanceof Buffer) return answer.toString();
  return Array.isArray(answer) ? answer.map(textOf) : answer;
}
