// One commit under way at a time: calls that come meanwhile ride together in the next.
import type { WriteCommand } from "./command.ts";
import type { OperationAnswer } from "./machine.ts";
import { isHeartbeat, takeRiders, type Pending } from "./riders.ts";

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
  /** Ends the turn of the others. */
  #hurry: (() => void) | undefined;

  constructor(host: CoalescerHost, commitBytes: number | undefined) {
    this.#host = host;
    this.#commitBytes = commitBytes;
  }

  /** Resolves with the answers once the commit with the commands is in the log; an abort takes back what does not ride yet, and ends the wait for what does. */
  submit(commands: readonly WriteCommand[], signal: AbortSignal | undefined): Promise<readonly OperationAnswer[]> {
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#pending = this.#pending.filter((each) => each !== pending);
        reject(signal?.reason as Error);
      };
      const forget = (): void => signal?.removeEventListener("abort", aborted);
      const pending: Pending = {
        commands,
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
    });
  }
  /** Rejects all that wait and ride. */
  end(reason: unknown): void {
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
