// One commit under way at a time: calls that come meanwhile ride together in the next.
import type { WriteCommand } from "./command.ts";
import type { OperationAnswer } from "./machine.ts";
import { cutBytes, cutCommand, isHeartbeat, joinAnswers, takeRiders, type Pending } from "./riders.ts";

export interface CoalescerHost {
  /** Brings the commands of one commit into the log. */
  send(commands: readonly WriteCommand[]): Promise<readonly OperationAnswer[]>;
  /** A commit is over, however it ended. */
  sent(): void;
  /** How long whoever has just written lets the others have their turn. */
  turnMs(): number;
}

export class Coalescer {
  readonly #host: CoalescerHost;
  readonly #commitBytes: number | undefined;
  #pending: Pending[] = [];
  #pumping = false;
  /** What rides in the commit that is under way. */
  #riding: readonly Pending[] = [];
  #ended: { readonly reason: unknown } | undefined;
  /** Ends the turn of the others. */
  #hurry: (() => void) | undefined;

  constructor(host: CoalescerHost, commitBytes: number | undefined) {
    this.#host = host;
    this.#commitBytes = commitBytes;
  }

  /**
   * Resolves with the answers once the commits with the commands are in the log; an abort takes back what does not ride yet, and ends the wait
   * for what does. What is too large for one commit goes in several, one after the other: where one is refused, those before it have taken effect.
   */
  async submit(
    commands: readonly WriteCommand[],
    signal: AbortSignal | undefined,
  ): Promise<readonly OperationAnswer[]> {
    const parts = commands.map((command) => cutCommand(command));
    const bytes = parts.reduce((all, [first]) => all + (first?.bytes ?? 0), 0);
    const isWhole = parts.every(({ length }) => length === 1) && (commands.length === 1 || bytes <= cutBytes);
    if (isWhole) return await this.#ride(commands, bytes, signal);
    const answers: OperationAnswer[] = [];
    for (const each of parts) {
      const own: OperationAnswer[] = [];
      for (const { command, bytes: size } of each) own.push(...(await this.#ride([command], size, signal)));
      answers.push(joinAnswers(own));
    }
    return answers;
  }
  #ride(
    commands: readonly WriteCommand[],
    bytes: number,
    signal: AbortSignal | undefined,
  ): Promise<readonly OperationAnswer[]> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended.reason as Error);
      const aborted = (): void => {
        this.#pending = this.#pending.filter((each) => each !== pending);
        reject(signal?.reason as Error);
      };
      const forget = (): void => signal?.removeEventListener("abort", aborted);
      const pending: Pending = {
        commands,
        bytes,
        resolve: (answers) => {
          forget();
          resolve(answers);
        },
        reject: (reason) => {
          forget();
          reject(reason as Error);
        },
      };
      signal?.addEventListener("abort", aborted, { once: true });
      this.#pending.push(pending);
      if (commands.some(isHeartbeat)) this.#hurry?.();
      if (!this.#pumping) void this.#pump();
      return undefined;
    });
  }
  /** Rejects all that wait and ride. */
  end(reason: unknown): void {
    this.#ended = { reason };
    for (const pending of [...this.#pending.splice(0), ...this.#riding]) pending.reject(reason);
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    await Promise.resolve();
    while (this.#pending.length > 0) {
      await this.#giveWay();
      const riders = takeRiders(this.#pending, this.#commitBytes);
      this.#riding = riders;
      try {
        const answers = await this.#host.send(riders.flatMap(({ commands }) => commands));
        let next = 0;
        for (const rider of riders) {
          rider.resolve(answers.slice(next, next + rider.commands.length));
          next += rider.commands.length;
        }
      } catch (error) {
        for (const rider of riders) rider.reject(error);
      }
      this.#riding = [];
      this.#host.sent();
    }
    this.#pumping = false;
  }

  /** Whoever has just written lets the others have their turn, unless a heartbeat is due; what is asked meanwhile rides along. */
  async #giveWay(): Promise<void> {
    if (this.#pending.some(({ commands }) => commands.some(isHeartbeat))) return;
    const restMs = this.#host.turnMs();
    if (restMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, restMs);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = undefined;
  }
}
