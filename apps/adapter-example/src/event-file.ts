// The file: one JSON line an event, numbered; all storages of this process on one path share one.
import { open, readFile, rename, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { OmniQError, Reports, type NewEvent } from "@omniq/core";
import { decodeLine, lineOf, type Numbered } from "./event-line.ts";

const files = new Map<string, EventFile>();

export class EventFile {
  /** All kept events, by number. */
  readonly events: Numbered[] = [];
  /** Whom it tells of lines that can not be read. */
  readonly reports: Reports = new Reports();
  readonly #path: string;
  readonly #ids = new Set<string>();
  readonly #watchers = new Set<() => void>();
  #handle: FileHandle | undefined;
  #last = 0;
  #users = 0;
  /** Writes go one after the other: this is the latest. */
  #writing: Promise<unknown> = Promise.resolve();
  #loading: Promise<void> | undefined;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Each opening is matched by one {@link release}. */
  static open(path: string): EventFile {
    const full = resolve(path);
    const file = files.get(full) ?? new EventFile(full);
    files.set(full, file);
    file.#users += 1;
    return file;
  }

  /** Reads the file, once. */
  load(): Promise<void> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw unavailable(error);
    });
    return this.#loading;
  }

  /** Resolves when the new ones among the events are on the disk. */
  async append(events: readonly NewEvent[]): Promise<void> {
    await this.load();
    await this.#alone(async () => {
      const added: Numbered[] = [];
      const ids = new Set<string>();
      for (const event of events) {
        if (this.#ids.has(event.id) || ids.has(event.id)) continue;
        ids.add(event.id);
        added.push({ sequence: this.#last + added.length + 1, event });
      }
      if (added.length === 0) return;
      const before = (await this.#handle!.stat()).size;
      try {
        await this.#handle!.appendFile(added.map(lineOf).join(""));
        // Acknowledged means that it survives the process and the power.
        await this.#handle!.datasync();
      } catch (error) {
        // Half a line must not stay in front of the next one.
        await this.#handle!.truncate(before);
        throw error;
      }
      for (const one of added) this.#keep(one);
      for (const watcher of this.#watchers) watcher();
    });
  }

  /** Writes the file anew without up to `limit` events from before `time`. */
  async removeBefore(time: number, limit: number): Promise<number> {
    await this.load();
    return this.#alone(async () => {
      const old = new Set(this.events.filter(({ event }) => event.at < time).slice(0, limit));
      if (old.size === 0) return 0;
      const kept = this.events.filter((one) => !old.has(one));
      const temporary = `${this.#path}.new`;
      const handle = await open(temporary, "w");
      // The first line keeps the last number, so that none comes again when the newest event is removed.
      await handle.writeFile(`${JSON.stringify({ last: this.#last })}\n${kept.map(lineOf).join("")}`);
      await handle.datasync();
      await handle.close();
      await rename(temporary, this.#path);
      await this.#handle!.close();
      this.#handle = await open(this.#path, "a");
      await syncFolder(this.#path);
      this.events.splice(0, this.events.length, ...kept);
      for (const { event } of old) this.#ids.delete(event.id);
      return old.size;
    });
  }

  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** The last user closes the file, after what is being written. */
  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    files.delete(this.#path);
    await this.#loading?.catch(() => undefined);
    await this.#alone(async () => this.#handle?.close());
  }

  async #load(): Promise<void> {
    const handle = await open(this.#path, "a");
    const bytes = await readFile(this.#path);
    // A process that died while it wrote leaves a line without an end; nobody was told that it was stored.
    const whole = bytes.lastIndexOf(10) + 1;
    if (whole < bytes.length) await handle.truncate(whole);
    for (const [index, text] of bytes.subarray(0, whole).toString().split("\n").entries()) {
      if (text === "") continue;
      const line = decodeLine(text, this.#last);
      if (line.kind === "event") this.#keep(line.numbered);
      else if (line.kind === "last") this.#last = line.last;
      else {
        // Its number stays taken: cursors that point to it lead on to the next event.
        this.#last += 1;
        this.reports.send("error", "jsonl: a line of the events file can not be read and is left out", {
          line: index + 1,
        });
      }
    }
    await syncFolder(this.#path);
    this.#handle = handle;
  }

  #keep(one: Numbered): void {
    this.events.push(one);
    this.#ids.add(one.event.id);
    this.#last = one.sequence;
  }

  async #alone<T>(write: () => Promise<T>): Promise<T> {
    const mine = this.#writing.then(write).catch((error: unknown) => {
      throw unavailable(error);
    });
    this.#writing = mine.catch(() => undefined);
    return mine;
  }
}

/** A new name is only safe when its folder is on the disk too. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  await folder.sync().finally(() => folder.close());
}

function unavailable(error: unknown): OmniQError {
  const full = (error as { code?: unknown }).code === "ENOSPC";
  return full
    ? new OmniQError("OMNIQ_BACKEND_FULL", "jsonl: the disk is full; make room and try again", { cause: error })
    : new OmniQError(
        "OMNIQ_BACKEND_UNAVAILABLE",
        "jsonl: the events file can not be read or written; check its folder and rights",
        { cause: error },
      );
}
