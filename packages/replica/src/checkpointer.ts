// When a checkpoint is taken: replay and its cost stay linear in what is written.
import type { Machine } from "./machine.ts";
import type { LogCheckpoint, OrderedLog } from "./ordered-log.ts";

const defaultBytes = 8_388_608;

export class Checkpointer {
  readonly #log: OrderedLog;
  readonly #leastBytes: number;
  /** Processes that share a log reach its length at one commit; this parts them, so that one takes the checkpoint. */
  readonly #patience: number = 1 + Math.random() / 4;
  #logBytes = 0;
  /** After a failure: not before the log has so many bytes, since a checkpoint is much work to lose. */
  #notBefore = 0;
  #size = 0;
  /** The position of the newest checkpoint that this process knows of. */
  #position = 0;
  #running: Promise<void> | undefined;

  constructor(log: OrderedLog, leastBytes: number = defaultBytes) {
    this.#log = log;
    this.#leastBytes = leastBytes;
  }

  /** A commit of so many bytes was applied. */
  grew(bytes: number): void {
    this.#logBytes += bytes;
  }
  /** The state was loaded from this one. */
  loaded(checkpoint: LogCheckpoint | undefined): void {
    this.#size = checkpoint?.body.length ?? 0;
    this.#position = checkpoint?.position ?? 0;
    this.#logBytes = 0;
    this.#notBefore = 0;
  }
  /** Takes one when the log since the last one is longer than that one, and than the option says. */
  look(machine: Machine): void {
    const length = Math.max(this.#leastBytes, this.#size);
    if (this.#running !== undefined || this.#logBytes <= Math.max(length * this.#patience, this.#notBefore)) return;
    this.#running = this.#take(machine)
      .catch(() => {
        this.#notBefore = this.#logBytes + length / 4;
      })
      .finally(() => {
        this.#running = undefined;
      });
  }
  /** Resolves when none is being taken. */
  async rest(): Promise<void> {
    await this.#running;
  }

  async #take(machine: Machine): Promise<void> {
    const newest = await this.#log.newestCheckpoint?.();
    if (newest !== undefined && newest > this.#position) {
      this.#position = newest;
      this.#logBytes = 0;
      return;
    }
    const checkpoint = { position: machine.position, body: machine.encode() };
    const before = this.#logBytes;
    await this.#log.writeCheckpoint(checkpoint);
    this.#position = checkpoint.position;
    this.#size = checkpoint.body.length;
    this.#logBytes = Math.max(0, this.#logBytes - before);
    this.#notBefore = 0;
  }
}
