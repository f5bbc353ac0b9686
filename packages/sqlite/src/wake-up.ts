// Wake-ups: who waits in this process is told at once; other processes see a touched file, with polling behind it.
import { closeSync, ftruncateSync, openSync, statSync, watch, writeSync, type FSWatcher } from "node:fs";
import type { Connection } from "./connection.ts";
import type { Wake } from "./sql.ts";

/**
 * Another process's commit does not say whose results it stored, so that all who wait for some look. Where they are many that takes long,
 * and then they rest for this many times as long, at most `longestRestMs`.
 */
const restFactor = 3;
const longestRestMs = 100;
/** How often `PRAGMA data_version` is read while someone waits: the safety net behind the file. */
const pollMs = 50;

export type WaitKind = "tasks" | "events" | "results";
interface Waiter {
  readonly kind: WaitKind;
  /** For `results`: the tasks that count. */
  readonly ids: readonly string[] | undefined;
  /** By the store's clock. */
  readonly dueAt: number | undefined;
  readonly wake: () => void;
}

export class WakeUp {
  readonly #connection: Connection;
  readonly #waiters = new Set<Waiter>();
  readonly #resultWaiters = new Map<string, Set<Waiter>>();
  #poll: NodeJS.Timeout | undefined;
  #watcher: FSWatcher | undefined;
  #file: number | undefined;
  #fileFailed = false;
  #version: number | undefined;
  #written = 0;
  #restUntil = 0;
  #rest: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** After a commit of this process. */
  committed(wake: Wake): void {
    if (!wake.tasks && !wake.events && wake.results.size === 0) return;
    this.#touch();
    if (this.#waiters.size === 0) return;
    for (const id of wake.results) for (const waiter of this.#resultWaiters.get(id) ?? []) waiter.wake();
    if (!wake.tasks && !wake.events) return;
    for (const waiter of this.#waiters) {
      if ((wake.tasks && waiter.kind === "tasks") || (wake.events && waiter.kind === "events")) waiter.wake();
    }
  }

  /** Something was committed elsewhere; what, is not known. */
  wakeAll(): void {
    for (const waiter of this.#waiters) waiter.wake();
  }

  /**
   * Starts to listen. Call it before looking whether there is something, so that nothing falls in between. `wait` resolves at the
   * first wake since, at `dueAt` (store's clock), after `waitMs`, when the signal aborts or when `end` does.
   */
  listen(
    kind: WaitKind,
    request: {
      readonly waitMs: number;
      readonly dueAt?: number | undefined;
      readonly ids?: readonly string[];
      readonly signals: readonly (AbortSignal | undefined)[];
    },
  ): { readonly wait: () => Promise<void>; readonly stop: () => void } {
    let woken = false;
    let resolve: (() => void) | undefined;
    const wake = (): void => {
      woken = true;
      resolve?.();
    };
    const waiter: Waiter = { kind, ids: request.ids, dueAt: request.dueAt, wake };
    this.#add(waiter);
    const signals = request.signals.filter((signal) => signal !== undefined);
    for (const signal of signals) {
      if (signal.aborted) woken = true;
      signal.addEventListener("abort", wake, { once: true });
    }
    const dueIn = request.dueAt === undefined ? Infinity : Math.max(1, request.dueAt - this.#connection.now());
    const timer = setTimeout(wake, Math.max(0, Math.min(request.waitMs, dueIn, 2 ** 31 - 1)));
    return {
      wait: () => (woken ? Promise.resolve() : new Promise<void>((done) => (resolve = done))),
      stop: () => {
        clearTimeout(timer);
        this.#remove(waiter);
        for (const signal of signals) signal.removeEventListener("abort", wake);
      },
    };
  }

  close(): void {
    this.#closed = true;
    this.release();
    this.wakeAll();
  }

  /** Lets go of the file; it is opened again when needed. */
  release(): void {
    clearInterval(this.#poll);
    this.#poll = undefined;
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#watcher?.close();
    this.#watcher = undefined;
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#version = undefined;
  }

  #add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    for (const id of waiter.ids ?? []) {
      const set = this.#resultWaiters.get(id);
      if (set === undefined) this.#resultWaiters.set(id, new Set([waiter]));
      else set.add(waiter);
    }
    if (this.#closed) return;
    if (this.#poll === undefined) {
      this.#version = this.#dataVersion();
      this.#poll = setInterval(() => this.#look(), pollMs);
    }
    this.#watch();
  }

  #remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    for (const id of waiter.ids ?? []) {
      const set = this.#resultWaiters.get(id);
      set?.delete(waiter);
      if (set?.size === 0) this.#resultWaiters.delete(id);
    }
    if (this.#waiters.size === 0) {
      clearInterval(this.#poll);
      this.#poll = undefined;
    }
  }

  /** Did another connection commit? Our own commits do not change the number. */
  #look(): void {
    try {
      this.#connection.checkPlace("look");
    } catch {
      // Those who wait hear it when they look.
      return this.wakeAll();
    }
    const version = this.#dataVersion();
    if (version !== this.#version) {
      this.#version = version;
      for (const waiter of this.#waiters) if (waiter.kind !== "results") waiter.wake();
      this.#wakeResults();
      return;
    }
    // Timers follow the computer's clock; a store's clock that was set forward is seen here.
    const now = this.#connection.now();
    for (const waiter of this.#waiters) if (waiter.dueAt !== undefined && waiter.dueAt <= now) waiter.wake();
  }

  #wakeResults(): void {
    if (this.#resultWaiters.size === 0 || this.#rest !== undefined) return;
    const now = performance.now();
    if (now < this.#restUntil) {
      this.#rest = setTimeout(() => {
        this.#rest = undefined;
        this.#wakeResults();
      }, this.#restUntil - now);
      return;
    }
    for (const waiter of this.#waiters) if (waiter.kind === "results") waiter.wake();
    // They look before the loop's turn ends.
    setImmediate(() => {
      const tookMs = performance.now() - now;
      if (tookMs > 1) this.#restUntil = performance.now() + Math.min(restFactor * tookMs, longestRestMs);
    });
  }

  #dataVersion(): number | undefined {
    try {
      return this.#connection.current?.get<{ data_version: number }>("PRAGMA data_version")?.data_version;
    } catch {
      return undefined;
    }
  }

  #wakePath(): string | undefined {
    return this.#connection.path === undefined ? undefined : `${this.#connection.path}-${this.#connection.prefix}-wake`;
  }

  #openFile(): number | undefined {
    const path = this.#wakePath();
    if (path === undefined || this.#fileFailed || this.#closed) return undefined;
    try {
      // Whoever may use the database may wake others.
      return (this.#file ??= openSync(path, "a", statSync(this.#connection.path as string).mode & 0o666));
    } catch {
      // Polling alone does it.
      this.#fileFailed = true;
      return undefined;
    }
  }

  #touch(): void {
    const file = this.#openFile();
    if (file === undefined) return;
    try {
      this.#written = (this.#written + 1) % 4096;
      if (this.#written === 0) ftruncateSync(file);
      writeSync(file, "w");
    } catch {
      // A full disk must not fail what is committed already; others see the commit by polling.
    }
  }
  #watch(): void {
    const path = this.#wakePath();
    if (this.#watcher !== undefined || path === undefined || this.#openFile() === undefined) return;
    try {
      const watcher = watch(path, { persistent: false }, () => {
        if (this.#waiters.size > 0) this.#look();
      });
      watcher.on("error", () => watcher.close());
      this.#watcher = watcher;
    } catch {
      this.#fileFailed = true;
    }
  }
}
