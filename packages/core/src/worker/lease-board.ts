// A worker's leases in shared memory: the heartbeat thread finds them there when it needs them, and is never woken to be told.
import type { Execution } from "./execution.ts";

/** One lease as the thread knows it. */
export interface BoardLease {
  readonly taskId: string;
  readonly queue: string;
  readonly token: string;
  readonly run: number;
  readonly attempt: number;
  /** The main thread may be silent for this long; `null`: without end. */
  readonly silenceMs: number | null;
}

/** Tells leases apart, also those of one task. */
export function leaseKey({ taskId, token }: { readonly taskId: string; readonly token: string }): string {
  return `${taskId}\0${token}`;
}
/** Milliseconds by the clock that all threads of a process share. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Places of the header: changes (odd while the board is written anew), leases, bytes of text. */
const changes = 0;
const leaseCount = 1;
const byteCount = 2;
const headerBytes = 16;
const bytesPerSlot = 128;
const fieldsPerLease = 6;

interface Views {
  readonly header: Int32Array;
  /** Not 0: the lease in this slot is over. */
  readonly marks: Uint8Array;
  readonly text: Buffer;
}

function viewsOf(memory: SharedArrayBuffer): Views {
  const slots = (memory.byteLength - headerBytes) / (1 + bytesPerSlot);
  return {
    header: new Int32Array(memory, 0, headerBytes / 4),
    marks: new Uint8Array(memory, headerBytes, slots),
    text: Buffer.from(memory, headerBytes + slots),
  };
}

/** No id, name or token has a NUL. */
function textOf({ lease, envelope }: Execution): string {
  const { taskId, queue, token, run, attempt } = lease;
  return `${taskId}\0${queue}\0${token}\0${run}\0${attempt}\0${envelope.timeoutMs ?? ""}\0`;
}

/** The main thread's side. Leases are appended; when the board is full, those that are still held are written anew from its start. */
export class LeaseBoard {
  memory: SharedArrayBuffer;
  readonly #held: () => Iterable<Execution>;
  readonly #grown: (memory: SharedArrayBuffer) => void;
  #views: Views;
  #slots = 0;
  #bytes = 0;

  /** `held` gives at least all that were added and not dropped; `grown` is told when the board has moved to other memory. */
  constructor(held: () => Iterable<Execution>, grown: (memory: SharedArrayBuffer) => void, slots = 1_024) {
    this.#held = held;
    this.#grown = grown;
    this.memory = new SharedArrayBuffer(headerBytes + slots * (1 + bytesPerSlot));
    this.#views = viewsOf(this.memory);
  }

  add(executions: readonly Execution[]): void {
    let text = "";
    for (const execution of executions) text += textOf(execution);
    if (this.#fits(executions.length, text)) this.#append(executions, text);
    else this.#rewrite(executions);
  }

  drop(execution: Execution): void {
    if (execution.boardSlot < 0) return;
    this.#views.marks[execution.boardSlot] = 1;
    execution.boardSlot = -1;
  }

  /** Its executions may outlive it, and must not be dropped from another board. */
  close(): void {
    for (const execution of this.#held()) execution.boardSlot = -1;
  }

  #fits(count: number, text: string): boolean {
    const { marks, text: space } = this.#views;
    // A UTF-16 unit has at most three bytes of UTF-8, so that nothing need be counted.
    return this.#slots + count <= marks.length && this.#bytes + text.length * 3 <= space.length;
  }

  #append(executions: readonly Execution[], text: string): void {
    const { header, marks } = this.#views;
    this.#bytes += this.#views.text.write(text, this.#bytes);
    for (const execution of executions) {
      marks[this.#slots] = 0;
      execution.boardSlot = this.#slots++;
    }
    Atomics.store(header, byteCount, this.#bytes);
    Atomics.store(header, leaseCount, this.#slots);
  }

  #rewrite(added: readonly Execution[]): void {
    const live = [...this.#held()].filter((execution) => execution.boardSlot >= 0);
    for (const execution of added) if (execution.boardSlot < 0) live.push(execution);
    const text = live.map(textOf).join("");
    // At most a quarter is used by what is written again, so that it is seldom written again.
    let slots = this.#views.marks.length;
    while (live.length * 4 > slots || text.length * 12 > slots * bytesPerSlot) slots *= 2;
    if (slots > this.#views.marks.length) {
      this.memory = new SharedArrayBuffer(headerBytes + slots * (1 + bytesPerSlot));
      this.#views = viewsOf(this.memory);
      this.#slots = this.#bytes = 0;
      this.#append(live, text);
      this.#grown(this.memory);
      return;
    }
    Atomics.add(this.#views.header, changes, 1);
    this.#slots = this.#bytes = 0;
    this.#append(live, text);
    Atomics.add(this.#views.header, changes, 1);
  }
}

/** The thread's side. */
export class LeaseBoardReader {
  #views: Views;
  #seen = 0;
  readonly #lost = new Set<string>();

  constructor(memory: SharedArrayBuffer) {
    this.#views = viewsOf(memory);
  }

  moved(memory: SharedArrayBuffer): void {
    this.#views = viewsOf(memory);
    this.#lost.clear();
  }

  /** The leases that are held. None while they are being written anew: whoever writes shows life. */
  leases(): readonly BoardLease[] {
    const { header, marks, text } = this.#views;
    const before = Atomics.load(header, changes);
    const count = Atomics.load(header, leaseCount);
    const parts = Buffer.from(text.subarray(0, Atomics.load(header, byteCount)))
      .toString()
      .split("\0");
    const over = Uint8Array.from(marks.subarray(0, count));
    if (before % 2 !== 0 || Atomics.load(header, changes) !== before) return [];
    if (before !== this.#seen) this.#lost.clear();
    this.#seen = before;
    const leases: BoardLease[] = [];
    for (let slot = 0; slot < count; slot++) {
      const at = slot * fieldsPerLease;
      const [taskId = "", queue = "", token = "", run, attempt, silence = ""] = parts.slice(at, at + fieldsPerLease);
      if (over[slot] !== 0 || this.#lost.has(leaseKey({ taskId, token }))) continue;
      const silenceMs = silence === "" ? null : Number(silence);
      leases.push({ taskId, queue, token, run: Number(run), attempt: Number(attempt), silenceMs });
    }
    return leases;
  }

  /** It is not given again. */
  lost(lease: BoardLease): void {
    this.#lost.add(leaseKey(lease));
  }
}
