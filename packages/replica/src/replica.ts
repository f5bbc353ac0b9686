// The executor over an ordered log: writes ride together into the log, reads are answered from its replay.
import { setMaxListeners } from "node:events";
import { OmniQError } from "@omniq/core";
import { abortable, endSoon } from "./abortable.ts";
import { apply, isRead } from "./apply.ts";
import { Coalescer } from "./coalescer.ts";
import type { AnswerOf, Command, WriteCommand } from "./command.ts";
import type { Changes, Executor } from "./executor.ts";
import type { OperationAnswer } from "./machine.ts";
import type { OrderedLog } from "./ordered-log.ts";
import type { ReplicaOptions } from "./replica-options.ts";
import { Replay } from "./replay.ts";
import { Sender } from "./sender.ts";
import type { ReplicaState } from "./state.ts";

/** An executor over an ordered log. Make it with {@link Replica.open}. */
export class Replica implements Executor {
  readonly #replay: Replay;
  readonly #coalescer: Coalescer;
  readonly #ended: AbortController = new AbortController();

  private constructor(log: OrderedLog, options: ReplicaOptions) {
    // Every read under way listens: many are no leak.
    setMaxListeners(0, this.#ended.signal);
    const replay = new Replay(log, options);
    const sender = new Sender(log, options, replay, this.#ended.signal);
    this.#replay = replay;
    this.#coalescer = new Coalescer(
      {
        send: async (commands) => {
          const answers = await sender.send(commands);
          if (log.lookEvery !== undefined) lookClosely(log, commands, answers);
          return answers;
        },
        sent: () => {
          if (!this.#ended.signal.aborted) replay.checkpointer.look(replay.machine);
        },
        // A server that orders lets everyone write at once.
        turnMs: () => (log.ordering === "server" ? 0 : replay.crowd.turnMs(replay.machine.position)),
      },
      options.commitBytes,
    );
  }

  /** Loads the newest checkpoint, replays what follows, and goes on following the log. */
  static async open(log: OrderedLog, options: ReplicaOptions = {}): Promise<Replica> {
    const replica = new Replica(log, options);
    const replay = replica.#replay;
    await replay.reopen();
    replay.lane.renew(replay.machine.position);
    void replay.follow(replica.#ended.signal);
    return replica;
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    this.#ended.signal.throwIfAborted();
    const writes = commands.filter((command): command is WriteCommand => !isRead(command));
    // A read needs no commit, but everything that was acknowledged before it to anyone.
    const answered =
      writes.length > 0
        ? await this.#coalescer.submit(writes, options.signal)
        : (await abortable(this.#replay.catchUp(), options.signal, this.#ended.signal), []);
    let next = 0;
    let failure: OmniQError | undefined;
    const answers = commands.map((command) => {
      if (isRead(command)) return apply(this.view(), command, this.now(), "");
      const answer = answered[next++];
      if (answer === undefined) return undefined;
      if ("failure" in answer) failure ??= new OmniQError(answer.failure.code, answer.failure.message);
      return "value" in answer ? answer.value : undefined;
    });
    if (failure !== undefined) throw failure;
    return answers as never;
  }

  now(): number {
    return this.#replay.now();
  }
  view(): ReplicaState {
    return this.#replay.machine.state;
  }
  /** The last position applied. */
  position(): number {
    return this.#replay.machine.position;
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#replay.listeners.add(listener);
  }
  /** The state with its lanes as text, as a checkpoint holds it. */
  encode(): string {
    return this.#replay.machine.encode().join("");
  }

  /** Ends everything; calls under way reject with `OMNIQ_CLOSED`. Idempotent. Does not close the log. */
  async close(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    const closed = new OmniQError("OMNIQ_CLOSED", "The replica is closed; open a new one to go on");
    this.#ended.abort(closed);
    this.#coalescer.end(closed);
    this.#replay.listeners.clear();
    await endSoon(this.#replay.checkpointer.close());
  }
}

/** A cancel of a task that somebody else asks for should be heard within a second. */
const cancelMs = 800;

/** Where leases are held, the log is looked at closely for as long as they last. */
function lookClosely(log: OrderedLog, commands: readonly WriteCommand[], answers: readonly OperationAnswer[]): void {
  for (const [index, command] of commands.entries()) {
    if (command.verb !== "reserve" && command.verb !== "extend") continue;
    const answer = answers[index];
    const hasLeases = answer !== undefined && "value" in answer && (answer.value as readonly unknown[]).length > 0;
    if (hasLeases) log.lookEvery?.(cancelMs, command.leaseMs);
  }
}
