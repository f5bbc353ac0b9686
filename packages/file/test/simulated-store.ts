// An object store whose calls a test delays, loses and reorders, by a seed: what is asked lands when the schedule says, and is answered later.
import { OmniQError } from "@omniq/core";
import type { CreateAnswer, ListAnswer, ObjectStore, ReadAnswer, ReplaceAnswer } from "@omniq/file";

interface Call {
  readonly process: number;
  readonly kind: "read" | "create" | "delete" | "list";
  /** What it does to the store, and what is answered. `late`: its sender has given it up. */
  readonly land: (late: boolean) => unknown;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
  landed?: { readonly answer: unknown };
}
interface Kept {
  readonly body: Uint8Array;
  readonly lastModified: number;
}

export interface SimulatedWorldOptions {
  readonly random: () => number;
  /** How far each date may be from the store's clock, to either side. */
  readonly skewMs: number;
  /** Dates of reads and creates stand still: a store that breaks its promise. */
  readonly frozenDates?: boolean | undefined;
  /** Creates overwrite: a store that breaks its promise. */
  readonly careless?: boolean | undefined;
  /** Called when a call has landed, before anything is answered. */
  readonly landed: (landing: Landing) => void;
}

/** What a call did to the store. */
export interface Landing {
  readonly process: number;
  readonly kind: "read" | "create" | "delete";
  readonly key: string;
  /** What was written; what was read or deleted, if it was there. */
  readonly body: Uint8Array | undefined;
  /** Of a create: that the name was free. */
  readonly created: boolean;
  /** The sender had given it up, or was dead. */
  readonly late: boolean;
}

export class SimulatedWorld {
  readonly objects = new Map<string, Kept>();
  /** The store's clock. */
  time = 1_000_000_000;
  readonly #options: SimulatedWorldOptions;
  readonly #frozen: number = this.time;
  #calls: Call[] = [];
  /** Effects of calls that were given up: they land at any time, or never. */
  #late: ((late: boolean) => unknown)[] = [];

  constructor(options: SimulatedWorldOptions) {
    this.#options = options;
  }

  /** A client for a process. */
  client(process: number): ObjectStore {
    const send = <T>(kind: Call["kind"], land: (late: boolean) => T): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        this.#calls.push({ process, kind, land, resolve: resolve as (answer: unknown) => void, reject });
      });
    return {
      read: (key) => send<ReadAnswer>("read", () => this.#read(process, key)),
      create: (key, body) => send<CreateAnswer>("create", (late) => this.#create(process, key, body, late)),
      replace: async (): Promise<ReplaceAnswer> => ({ state: "conflict" }),
      delete: (keys) =>
        send<void>("delete", (late) => {
          for (const key of keys) this.#delete(process, key, late);
        }),
      list: (prefix, after, limit) => send<ListAnswer>("list", () => this.#list(prefix, after, limit)),
      close: async () => {},
    };
  }

  /** One step of a random call of a process that is awake: it lands, or is answered, or its answer is lost. False if there is none. */
  step(isAwake: (process: number) => boolean): boolean {
    const { random } = this.#options;
    const ready = this.#calls.filter(({ process }) => isAwake(process));
    const call = ready[Math.floor(random() * ready.length)];
    if (call === undefined) return false;
    const luck = random();
    if (call.landed !== undefined) {
      this.#drop(call);
      if (luck < 0.05 && call.kind === "create") call.resolve({ state: "unknown" });
      else if (luck < 0.03 && call.kind === "delete") call.reject(away());
      else call.resolve(call.landed.answer);
    } else if (luck < 0.06 && (call.kind === "create" || call.kind === "delete")) {
      // Given up before it landed: it may land later.
      this.#drop(call);
      this.#late.push(call.land);
      if (call.kind === "create") call.resolve({ state: "unknown" });
      else call.reject(away());
    } else {
      call.landed = { answer: call.land(false) };
      if (luck > 0.5) {
        this.#drop(call);
        call.resolve(call.landed.answer);
      }
    }
    return true;
  }
  /** A call that was given up lands after all. False if there is none. */
  landLate(): boolean {
    const [late] = this.#late.splice(Math.floor(this.#options.random() * this.#late.length), 1);
    late?.(true);
    return late !== undefined;
  }
  /** The process is dead: what it sent lands some day or never, and nobody hears. */
  crash(process: number): void {
    const { random } = this.#options;
    for (const call of this.#calls.filter((each) => each.process === process)) {
      this.#drop(call);
      if (call.landed === undefined && random() < 0.5) this.#late.push(call.land);
    }
  }

  #drop(call: Call): void {
    this.#calls = this.#calls.filter((each) => each !== call);
  }
  #stamp(): number {
    const { random, skewMs } = this.#options;
    return Math.round(this.time + (random() * 2 - 1) * skewMs);
  }
  #date(): number {
    return this.#options.frozenDates === true ? this.#frozen : this.#stamp();
  }
  #read(process: number, key: string): ReadAnswer {
    const kept = this.objects.get(key);
    this.#options.landed({ process, kind: "read", key, body: kept?.body, created: false, late: false });
    return { object: kept === undefined ? undefined : { ...kept, revision: "1" }, date: this.#date() };
  }
  #create(process: number, key: string, body: Uint8Array, late: boolean): CreateAnswer {
    const created = !this.objects.has(key) || this.#options.careless === true;
    if (created) this.objects.set(key, { body, lastModified: this.#stamp() });
    this.#options.landed({ process, kind: "create", key, body, created, late });
    return { state: created ? "created" : "exists", date: this.#date() };
  }
  #delete(process: number, key: string, late: boolean): void {
    const kept = this.objects.get(key);
    this.objects.delete(key);
    this.#options.landed({ process, kind: "delete", key, body: kept?.body, created: false, late });
  }
  #list(prefix: string, after = "", limit = Number.POSITIVE_INFINITY): ListAnswer {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const objects = keys.slice(0, limit).map((key) => ({ key, lastModified: this.objects.get(key)?.lastModified }));
    return { objects, date: this.#stamp() };
  }
}

function away(): OmniQError {
  return new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The simulated store lost the answer");
}
