// The heartbeat of last resort: a thread that extends leases while the main thread is blocked. The main thread's side.
import { Worker as Thread } from "node:worker_threads";
import type { RemoteBackend } from "../backend.ts";
import type { Logger } from "../task-definition.ts";
import { entryFlags, entryUrl, loadable } from "./entry-url.ts";
import type { Execution } from "./execution.ts";

/** One lease as the thread knows it. */
export interface RemoteLease {
  readonly slot: number;
  readonly taskId: string;
  readonly queue: string;
  readonly token: string;
  readonly run: number;
  readonly attempt: number;
  /** The main thread may be silent for this long; `null`: without end. */
  readonly silenceMs: number | null;
}
export interface HeartbeatMessage {
  readonly add: readonly RemoteLease[];
  readonly drop: readonly number[];
}
export interface HeartbeatThreadData {
  readonly remote: RemoteBackend;
  readonly leaseMs: number;
  /** One counter that the main thread moves while it lives. */
  readonly life: SharedArrayBuffer;
}

/**
 * Tells the thread which leases there are, before their handlers start, and shows life. The thread extends only while life is not shown: in
 * normal times the main loop's heartbeats carry progress and find cancellations, and this costs one message a batch of leases.
 */
export class HeartbeatThread {
  readonly #thread: Thread;
  readonly #life = new Int32Array(new SharedArrayBuffer(4));
  readonly #timer: NodeJS.Timeout;
  readonly #slots = new Map<Execution, number>();
  #next = 0;
  #drop: number[] = [];

  constructor(remote: RemoteBackend, leaseMs: number, logger: Logger) {
    const module = loadable(import.meta.url, remote.module);
    const data: HeartbeatThreadData = {
      remote: { module, options: remote.options },
      leaseMs,
      life: this.#life.buffer as SharedArrayBuffer,
    };
    this.#thread = new Thread(entryUrl(import.meta.url, "heartbeat-entry"), {
      workerData: data,
      execArgv: entryFlags(),
    });
    this.#thread.unref();
    this.#thread.on("error", (error) =>
      logger.warn("The heartbeat thread ended; heartbeats go on in the main loop", { error }),
    );
    this.#timer = setInterval(() => Atomics.add(this.#life, 0, 1), Math.max(1, Math.floor(leaseMs / 12)));
    this.#timer.unref();
  }
  add(executions: readonly Execution[]): void {
    const add = executions.map((execution): RemoteLease => {
      const slot = this.#next++;
      this.#slots.set(execution, slot);
      const { taskId, queue, token, run, attempt } = execution.lease;
      return { slot, taskId, queue, token, run, attempt, silenceMs: execution.envelope.timeoutMs };
    });
    Atomics.add(this.#life, 0, 1);
    this.#thread.postMessage({ add, drop: this.#drop } satisfies HeartbeatMessage);
    this.#drop = [];
  }
  /** Rides in the next message; an extension that comes too late changes nothing. */
  drop(execution: Execution): void {
    const slot = this.#slots.get(execution);
    if (slot === undefined) return;
    this.#slots.delete(execution);
    this.#drop.push(slot);
    if (this.#drop.length >= 1_000 || this.#slots.size === 0) {
      this.#thread.postMessage({ add: [], drop: this.#drop } satisfies HeartbeatMessage);
      this.#drop = [];
    }
  }
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#thread.terminate();
  }
}
