// The heartbeat of last resort: a thread that extends leases while the main thread is blocked. The main thread's side.
import { Worker as Thread } from "node:worker_threads";
import type { RemoteBackend } from "../backend.ts";
import type { Logger } from "../task-definition.ts";
import { entryFlags, entryUrl, loadable } from "./entry-url.ts";
import type { Execution } from "./execution.ts";

/** One lease as the thread knows it. */
export interface RemoteLease {
  readonly taskId: string;
  readonly queue: string;
  readonly token: string;
  readonly run: number;
  readonly attempt: number;
  /** The main thread may be silent for this long; `null`: without end. */
  readonly silenceMs: number | null;
}
/**
 * Leases that came together, in slots from `first` on, as one text that is read only if the thread must extend: copying an object for each
 * task from thread to thread would cost more than anything else that a worker does for it.
 */
export interface LeaseBatch {
  readonly first: number;
  readonly count: number;
  readonly text: string;
}
export interface HeartbeatMessage {
  readonly add: LeaseBatch | undefined;
  readonly drop: readonly number[];
}

/** No id, name or token has this character. */
const separator = "\0";

export function writeLeases(executions: readonly Execution[]): string {
  let text = "";
  for (const { lease, envelope } of executions) {
    const { taskId, queue, token, run, attempt } = lease;
    if (text !== "") text += separator;
    text += `${taskId}\0${queue}\0${token}\0${run}\0${attempt}\0${envelope.timeoutMs ?? ""}`;
  }
  return text;
}

export function readLeases(text: string): readonly RemoteLease[] {
  const parts = text.split(separator);
  const leases: RemoteLease[] = [];
  for (let at = 0; at + 5 < parts.length; at += 6) {
    const [taskId = "", queue = "", token = "", run = "", attempt = "", silence = ""] = parts.slice(at, at + 6);
    const silenceMs = silence === "" ? null : Number(silence);
    leases.push({ taskId, queue, token, run: Number(run), attempt: Number(attempt), silenceMs });
  }
  return leases;
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
    const first = this.#next;
    for (const execution of executions) this.#slots.set(execution, this.#next++);
    Atomics.add(this.#life, 0, 1);
    this.#post({ first, count: executions.length, text: writeLeases(executions) });
  }
  #post(add: LeaseBatch | undefined): void {
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
      this.#post(undefined);
    }
  }
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#thread.terminate();
  }
}
