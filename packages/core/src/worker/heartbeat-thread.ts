// The heartbeat of last resort: a thread that extends leases while the main thread is blocked. The main thread's side.
import { MessageChannel, receiveMessageOnPort, Worker as Thread, type MessagePort } from "node:worker_threads";
import type { RemoteBackend } from "../backend.ts";
import type { Logger } from "../task-definition.ts";
import { entryFlags, entryUrl, loadable } from "./entry-url.ts";
import type { Execution } from "./execution.ts";
import { LeaseBoard, leaseKey, sharedNow } from "./lease-board.ts";

export interface HeartbeatThreadData {
  readonly remote: RemoteBackend;
  readonly leaseMs: number;
  /** One counter that the main thread moves while it lives. */
  readonly life: SharedArrayBuffer;
  /** The memory of a {@link LeaseBoard}; when it moves, the new one is posted. */
  readonly board: SharedArrayBuffer;
  /** Where the thread says what it has extended: {@link ThreadExtension}s. */
  readonly news: MessagePort;
}
/** Leases that the thread extended, each as {@link leaseKey}; the call was sent at these times, by {@link sharedNow} and by the wall. */
export interface ThreadExtension {
  readonly held: readonly string[];
  readonly sentAt: number;
  readonly sentWall: number;
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
  readonly #held: () => Iterable<Execution>;
  readonly #news: MessagePort;

  /** Whether its code is there: in a bundle it is not, and the main loop's heartbeats do alone. */
  static get isPossible(): boolean {
    return entryUrl(import.meta.url, "heartbeat-entry") !== undefined;
  }

  /** `held` gives at least all executions that were added and not dropped. */
  constructor(remote: RemoteBackend, leaseMs: number, logger: Logger, held: () => Iterable<Execution>) {
    const module = loadable(import.meta.url, remote.module);
    this.#board = new LeaseBoard(held, (memory) => this.#thread.postMessage(memory));
    this.#held = held;
    const { port1, port2 } = new MessageChannel();
    this.#news = port1;
    const data: HeartbeatThreadData = {
      remote: { module, options: remote.options },
      leaseMs,
      life: this.#life.buffer as SharedArrayBuffer,
      board: this.#board.memory,
      news: port2,
    };
    const execArgv = entryFlags();
    this.#thread = new Thread(entryUrl(import.meta.url, "heartbeat-entry") as URL, {
      workerData: data,
      transferList: [port2],
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
  /**
   * Takes over what the thread has extended meanwhile, at once: a loop that comes back judges its leases before it reads messages. Says whether
   * there was anything.
   */
  learn(): boolean {
    let extensions: Map<string, ThreadExtension> | undefined;
    for (let said; (said = receiveMessageOnPort(this.#news)) !== undefined;) {
      const extension = said.message as ThreadExtension;
      extensions ??= new Map();
      for (const key of extension.held) extensions.set(key, extension);
    }
    if (extensions === undefined) return false;
    const offset = performance.now() - sharedNow();
    for (const execution of this.#held()) {
      const extension = extensions.get(leaseKey(execution.lease));
      if (extension !== undefined) execution.extended(extension.sentAt + offset, extension.sentWall);
    }
    return true;
  }
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#news.close();
    this.#board.close();
    await this.#thread.terminate();
  }
}
