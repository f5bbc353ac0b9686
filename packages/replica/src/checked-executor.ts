// The door of the components: what callers hand in is checked and copied before it goes anywhere.
import type { AnswerOf, Command } from "./command.ts";
import type { Changes, Executor } from "./executor.ts";
import { checkCommand } from "./read-command.ts";
import type { ReplicaState } from "./state.ts";

/** Runs commands by another executor once they have passed {@link checkCommand}; others reject, and none of their call is run. */
export class CheckedExecutor implements Executor {
  readonly #executor: Executor;

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  get recheckMs(): number | undefined {
    return this.#executor.recheckMs;
  }
  execute<const C extends readonly Command[]>(
    commands: C,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    let checked: readonly Command[];
    try {
      checked = commands.map((command) => checkCommand(command));
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return this.#executor.execute(checked as C, options);
  }
  now(): number {
    return this.#executor.now();
  }
  view(): ReplicaState {
    return this.#executor.view();
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#executor.subscribe(listener);
  }
  follow(): void {
    this.#executor.follow?.();
  }
}
