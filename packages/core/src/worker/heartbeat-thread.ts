// The heartbeat of last resort: a thread that extends leases while the main thread is blocked. The main thread's side.
import { Worker as Thread } from "node:worker_threads";
import type { RemoteBackend } from "../backend.ts";
import type { Logger } from "../task-definition.ts";
import { entryFlags, entryUrl, loadable } from "./entry-url.ts";
import type { Execution } from "./execution.ts";
import { LeaseBoard } from "./lease-board.ts";

export interface HeartbeatThreadData {
  readonly remote: RemoteBackend;
  readonly leaseMs: number;
  /** One counter that the main thread moves while it lives. */
  readonly life: SharedArrayBuffer;
  /** The memory of a {@link LeaseBoard}; when it moves, the new one is posted. */
  readonly board: SharedArrayBuffer;
}

/**
 * Puts the leases there are where the thread finds them, before their handlers start, and shows life. The thread extends only while life is
 * not shown: in normal times the main loop's heartbeats carry progress and find cancellations, and the thread sleeps.
 */
export class HeartbeatThread {
  readonly #thread: Thread;
  readonly #life = new Int32Array(new SharedArrayBuffer(4));
  readonly #timer: NodeJS.Timeout;
  readonly #board: LeaseBoard;

  /** `held` gives at least all executions that were added and not dropped. */
  constructor(remote: RemoteBackend, leaseMs: number, logger: Logger, held: () => Iterable<Execution>) {
    const module = loadable(import.meta.url, remote.module);
    this.#board = new LeaseBoard(held, (memory) => this.#thread.postMessage(memory));
    const data: HeartbeatThreadData = {
      remote: { module, options: remote.options },
      leaseMs,
      life: this.#life.buffer as SharedArrayBuffer,
      board: this.#board.memory,
    };
    const execArgv = entryFlags();
    this.#thread = new Thread(entryUrl(import.meta.url, "heartbeat-entry"), {
      workerData: data,
      ...(execArgv && { execArgv }),
    });
    this.#thread.unref();
    this.#thread.on("error", (error) =>
      logger.warn("The heartbeat thread ended; heartbeats go on in the main loop", { error }),
    );
    this.#timer = setInterval(() => Atomics.add(this.#life, 0, 1), Math.max(1, Math.floor(leaseMs / 12)));
    this.#timer.unref();
  }
  add(executions: readonly Execution[]): void {
    Atomics.add(this.#life, 0, 1);
    this.#board.add(executions);
  }
  /** An extension that comes too late changes nothing. */
  drop(execution: Execution): void {
    this.#board.drop(execution);
  }
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#board.close();
    await this.#thread.terminate();
  }
}
