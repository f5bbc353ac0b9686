// When a checkpoint is taken: replay and its cost stay linear in what is written.
import type { Machine } from "./machine.ts";
import type { LogCheckpoint, OrderedLog } from "./ordered-log.ts";
import type { ReplicaOptions } from "./replica-options.ts";
import { pause } from "./waiting.ts";

const defaultBytes = 8_388_608;
/** Those who see that a checkpoint lacks part by so much, so that one of them writes it. */
const partingMs = 300;

export class Checkpointer {
  readonly #log: OrderedLog;
  readonly #report: ReplicaOptions["report"];
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
  #closed = false;

  constructor(log: OrderedLog, { checkpointBytes = defaultBytes, report }: ReplicaOptions = {}) {
    this.#log = log;
    this.#leastBytes = checkpointBytes;
    this.#report = report;
  }

  /** A commit of so many bytes was applied. */
  grew(bytes: number): void {
    this.#logBytes += bytes;
  }
  /** The state was loaded from this one. */
  loaded(checkpoint: LogCheckpoint | undefined): void {
    this.#size = checkpoint === undefined ? 0 : lengthOf(checkpoint);
    this.#position = checkpoint?.position ?? 0;
    this.#logBytes = 0;
    this.#notBefore = 0;
  }
  /** Takes one when the log since the last one is longer than that one, and than the option says; and where the log lacks one. */
  look(machine: Machine): void {
    if (this.#running !== undefined || this.#closed) return;
    const length = Math.max(this.#leastBytes, this.#size);
    const isDue = this.#logBytes > Math.max(length * this.#patience, this.#notBefore);
    if (!isDue && this.#log.lacksCheckpoint?.() !== true) return;
    this.#running = (isDue ? this.#take(machine) : this.#takeLacking(machine))
      .catch((error: unknown) => {
        this.#notBefore = this.#logBytes + length / 4;
        if (this.#closed) return;
        const reason = error instanceof Error ? error.message : String(error);
        this.#report?.("warn", `A checkpoint could not be written, the log grows meanwhile: ${reason}`, undefined);
      })
      .finally(() => {
        this.#running = undefined;
      });
  }
  /** Resolves when none is being taken; none is begun any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #takeLacking(machine: Machine): Promise<void> {
    await pause(Math.random() * partingMs);
    if (this.#closed || this.#log.lacksCheckpoint?.() !== true) return;
    this.#report?.(
      "warn",
      "Commits were taken out of the log before a checkpoint held them: one is written now",
      undefined,
    );
    await this.#write(machine);
  }
  async #take(machine: Machine): Promise<void> {
    const newest = await this.#log.newestCheckpoint?.();
    if (newest !== undefined && newest > this.#position) {
      this.#position = newest;
      this.#logBytes = 0;
      return;
    }
    await this.#write(machine);
  }
  async #write(machine: Machine): Promise<void> {
    const checkpoint: LogCheckpoint = { position: machine.position, pieces: machine.encode() };
    const before = this.#logBytes;
    await this.#log.writeCheckpoint(checkpoint);
    this.#position = checkpoint.position;
    this.#size = lengthOf(checkpoint);
    this.#logBytes = Math.max(0, this.#logBytes - before);
    this.#notBefore = 0;
  }
}

function lengthOf({ pieces }: LogCheckpoint): number {
  return pieces.reduce((length, piece) => length + piece.length, 0);
}
