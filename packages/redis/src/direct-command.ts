// A command that ioredis sends as it is, and whose caller is told in the turn in which the answer comes. What ioredis does for commands of any
// kind (arguments flattened and looked at, promises, transformers) costs more than all else in a call, and most in a process that is mostly idle.
import { tracingChannel } from "node:diagnostics_channel";
import { Command, type Redis } from "ioredis";

/** Told of the end of a command: one of both is called, once. */
export interface Told {
  readonly done: (answer: unknown) => void;
  readonly fail: (error: unknown) => void;
}

const traces = tracingChannel("ioredis:command") as { readonly hasSubscribers?: boolean };

/** Whether nobody traces commands: ioredis tells of those of its own only. */
export function isUntraced(): boolean {
  return traces.hasSubscribers === false;
}

/** What one is made of. */
export interface Direct {
  readonly name: string;
  /** What comes between the number of arguments and `args`, as it is sent, with `before` arguments in it, the name included. */
  readonly head: string;
  readonly before: number;
  readonly args: readonly (string | number)[];
  readonly told: Told;
  /** Another command, as it is sent, that goes in the same write before or behind this one, and whose answer nobody hears. */
  readonly lead?: string;
  readonly trail?: string;
}

/** It is a `Command` by its prototype, so that ioredis finds all that it may ask of one, but has what one needs on its way and no more. */
export class DirectCommand {
  readonly name: string;
  readonly args: readonly (string | number)[];
  readonly inTransaction = false;
  readonly isTraced = true;
  readonly promise: undefined = undefined;
  readonly #direct: Direct;
  readonly #over: (command: DirectCommand) => void;
  #told: Told | undefined;

  /** `over` is told before whoever waits. */
  constructor(direct: Direct, over: (command: DirectCommand) => void) {
    this.name = direct.name;
    this.args = direct.args;
    this.#direct = direct;
    this.#over = over;
    this.#told = direct.told;
  }

  toWritable(): string {
    const { head, before, args, lead = "", trail = "" } = this.#direct;
    let text = `${lead}*${before + args.length}\r\n${head}`;
    for (const arg of args) text += argumentText(String(arg));
    return text + trail;
  }

  resolve(answer: unknown): void {
    const told = this.#told;
    this.#told = undefined;
    if (told === undefined) return;
    this.#over(this);
    try {
      told.done(textOf(answer));
    } catch (error) {
      told.fail(error);
    }
  }

  reject(error: unknown): void {
    const told = this.#told;
    this.#told = undefined;
    if (told === undefined) return;
    this.#over(this);
    told.fail(error);
  }
}
Object.setPrototypeOf(DirectCommand.prototype, Command.prototype as object);

/** Takes the place, in ioredis' list of who is to be answered, of a command that went in the write of another. */
const unheard = new DirectCommand(
  { name: "unheard", head: "", before: 0, args: [], told: { done: () => undefined, fail: () => undefined } },
  () => undefined,
);
const nowhere = { write: () => true };

/** Gives a command to a client, and whoever goes with it. */
export function send(client: Redis, command: DirectCommand, { lead, trail }: Direct): void {
  const silent = unheard as unknown as Command;
  if (lead !== undefined) client.sendCommand(silent, nowhere as never);
  client.sendCommand(command as unknown as Command);
  if (trail !== undefined) client.sendCommand(silent, nowhere as never);
}

/** A command as it is sent. */
export function commandText(...args: readonly (string | number)[]): string {
  return `*${args.length}\r\n${args.map((arg) => argumentText(String(arg))).join("")}`;
}

/** An argument as it is sent. */
export function argumentText(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** Strings in place of the bytes that ioredis reads. */
function textOf(answer: unknown): unknown {
  if (answer instanceof Buffer) return answer.toString();
  return Array.isArray(answer) ? answer.map(textOf) : answer;
}
