// The object store in a folder of a local disk: temp, fsync, link, fsync the folder, so that an object is there whole and durable or not at all.
import { randomUUID } from "node:crypto";
import { access, link, mkdir, open, readdir, rm, rmdir, stat, unlink, type FileHandle } from "node:fs/promises";
import { constants, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { isOmniQError, OmniQError } from "@omniq/core";
import { codeOf, diskError } from "./disk-failure.ts";
import type {
  CreateAnswer,
  ListAnswer,
  ListedObject,
  ObjectStore,
  ReadAnswer,
  ReplaceAnswer,
  StoredObject,
} from "./object-store.ts";
import { forEachLimited } from "./store-failure.ts";

/** Files that are being written. Names that begin with a dot are never objects. */
const tempFolder = ".tmp";
/** Versions of replaced objects: `.versions/<key>/<number>`. */
const versionFolder = ".versions";
/** Older versions that stay beside the newest, so that a slow writer of an old one finds its name taken. */
const keptVersions = 16;
/** What lies in `.tmp` for longer was left by a process that died. */
const abandonedMs = 3_600_000;
const tries = 3;
/** Payloads are nobody's business but the owner's. A folder that is there keeps the rights that it has. */
const folderMode = 0o700;
const fileMode = 0o600;

/** A listed file; stamped when its time is asked for, as most lists are read for their names only. */
class ListedFile implements ListedObject {
  readonly key: string;
  readonly #path: string;

  constructor(key: string, path: string) {
    this.key = key;
    this.#path = path;
  }
  get lastModified(): number | undefined {
    return statSync(this.#path, { throwIfNoEntry: false })?.mtimeMs;
  }
}

/**
 * An object store in a folder. Reads and creates carry no dates, since nothing says that the clock was not set: the log lists instead, which
 * costs one `readdir`. A full disk is `OMNIQ_BACKEND_FULL`, with nothing stored. Not for network file systems.
 */
export class LocalStore implements ObjectStore {
  readonly reach = "host";
  readonly #root: string;
  readonly #folders = new Map<string, Promise<FolderSync>>();
  readonly #unlinking = new Set<Promise<void>>();
  /** Objects of this store's own whose folder is not known to be safe. */
  readonly #unsynced = new Set<string>();
  #cleaned = false;
  #closed = false;

  constructor(root: string) {
    this.#root = root;
  }

  async read(key: string, maxBytes: number = Number.POSITIVE_INFINITY): Promise<ReadAnswer> {
    const base = await this.#readFile(this.#path(key), maxBytes);
    if (base === undefined) return { object: undefined };
    const version = (await this.#versions(key)).at(-1);
    if (version === undefined) return { object: { ...base, revision: `0:${base.revision}` } };
    const newest = await this.#readFile(join(this.#root, versionFolder, key, String(version)), maxBytes);
    if (newest === undefined) return await this.read(key, maxBytes);
    return { object: { ...newest, revision: `${version}:${base.revision}` } };
  }

  async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    const path = this.#path(key);
    if (!this.#cleaned) {
      this.#cleaned = true;
      void this.#clean();
    }
    // A loser of a race that looks first spares the disk the writing of what nobody will read.
    const isMade = !(await exists(path)) && (await this.#write(path, body));
    // What is there may be this store's own, made by a try whose sync failed; others see to theirs themselves.
    if (!isMade && !this.#unsynced.has(key)) return { state: "exists" };
    try {
      await this.#sync(dirname(path));
    } catch (cause) {
      this.#unsynced.add(key);
      return { state: "unknown", cause: diskError(cause, path) };
    }
    this.#unsynced.delete(key);
    return { state: isMade ? "created" : "exists" };
  }

  /** Versions are made like objects, so two writers of one revision meet at one name. */
  async replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer> {
    const { object } = await this.read(key);
    if (object?.revision !== revision) return { state: "conflict" };
    const next = Number(revision.slice(0, revision.indexOf(":"))) + 1;
    const folder = join(this.#root, versionFolder, key);
    if (!(await this.#write(join(folder, String(next)), body))) return { state: "conflict" };
    try {
      await this.#sync(folder);
      const versions = await this.#versions(key);
      // Written so late that newer ones came and went: nobody can tell whether this one was ever the newest.
      if (versions.some((version) => version > next)) return { state: "unknown" };
      const old = versions.filter((version) => version < next - keptVersions);
      await Promise.all(old.map((version) => this.#unlink(join(folder, String(version)))));
      return { state: "replaced" };
    } catch (cause) {
      return { state: "unknown", cause: diskError(cause, folder) };
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    const folders = new Set<string>();
    await forEachLimited(keys, 16, async (key) => {
      const path = this.#path(key);
      await this.#unlink(path);
      await rm(join(this.#root, versionFolder, key), { recursive: true, force: true });
      folders.add(dirname(path));
    });
    for (const folder of folders) {
      // Attempts of checkpoints have a folder each; one that is not empty stays.
      if (folder !== this.#root && dirname(folder) !== this.#root) {
        await this.#forget(folder);
        await rmdir(folder).catch(() => undefined);
      }
    }
  }

  async list(prefix: string, after = "", limit: number = Number.POSITIVE_INFINITY): Promise<ListAnswer> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    // Of a list of one folder the names are enough; below it, folders are walked.
    const keys = (await this.#walk(folder)).filter((key) => key.startsWith(prefix) && key > after);
    keys.sort();
    const objects = keys.slice(0, limit).map((key) => new ListedFile(key, join(this.#root, key)));
    return { objects, date: Date.now() };
  }

  watch(prefix: string, changed: () => void): () => void {
    const folder = join(this.#root, prefix);
    let watcher: ReturnType<typeof watch> | undefined;
    let over = false;
    const started = this.#folder(folder).then(
      () => {
        if (over) return;
        watcher = watch(folder, { persistent: false }, () => changed());
        // What can't be watched is polled.
        watcher.on("error", () => watcher?.close());
        changed();
      },
      () => undefined,
    );
    void started.catch(() => undefined);
    return () => {
      over = true;
      watcher?.close();
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#unlinking);
    for (const folder of [...this.#folders.keys()]) await this.#forget(folder);
  }

  #path(key: string): string {
    if (this.#closed) throw new OmniQError("OMNIQ_CLOSED", "The store is closed; make a new one to go on");
    if (!/^[\w!*'()=-][\w!.*'()=-]*(\/[\w!*'()=-][\w!.*'()=-]*)*$/.test(key))
      throw new OmniQError("OMNIQ_INVALID_OPTION", "The key of an object can't be the name of a file");
    return join(this.#root, key);
  }

  async #readFile(path: string, maxBytes: number): Promise<StoredObject | undefined> {
    let handle: FileHandle | undefined;
    try {
      // Without waiting: a pipe under that name would never be opened.
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const found = await handle.stat();
      const { ino, mtimeMs, size } = found;
      const body = found.isFile() && size <= maxBytes ? await handle.readFile() : new Uint8Array(0);
      return { body, revision: `${ino}-${mtimeMs}`, lastModified: mtimeMs };
    } catch (error) {
      const code = codeOf(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw diskError(error, path);
    } finally {
      await handle?.close();
    }
  }

  async #versions(key: string): Promise<readonly number[]> {
    const names = await namesIn(join(this.#root, versionFolder, key));
    return names
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  /** Puts a whole file in its place, unless one is there; says whether it did. The folder is not synced yet. */
  async #write(path: string, body: Uint8Array): Promise<boolean> {
    for (let tried = 1; ; tried++) {
      await this.#folder(dirname(path));
      await this.#folder(join(this.#root, tempFolder));
      const temp = join(this.#root, tempFolder, randomUUID());
      try {
        await writeWhole(temp, body);
        await link(temp, path);
        return true;
      } catch (error) {
        const code = codeOf(error);
        if (code === "EEXIST") return false;
        // A folder was removed, or the temporary file taken for abandoned: nothing is stored, so all is done anew.
        if (code !== "ENOENT" || tried >= tries) throw diskError(error, path);
        for (const folder of [...this.#folders.keys()]) await this.#forget(folder);
      } finally {
        this.#later(unlink(temp));
      }
    }
  }
  #later(work: Promise<void>): void {
    const tracked: Promise<void> = work
      .catch(() => undefined)
      .finally(() => {
        this.#unlinking.delete(tracked);
      });
    this.#unlinking.add(tracked);
  }
  async #unlink(path: string): Promise<void> {
    await unlink(path).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw diskError(error, path);
    });
  }

  async #sync(folder: string): Promise<void> {
    await (await this.#folder(folder)).sync();
  }
  /** A folder that is there, durably, with its handle. */
  #folder(path: string): Promise<FolderSync> {
    if (this.#closed) throw new OmniQError("OMNIQ_CLOSED", "The store is closed; make a new one to go on");
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const opening = this.#makeFolder(path);
    this.#folders.set(path, opening);
    opening.catch(() => this.#folders.delete(path));
    return opening;
  }
  async #forget(path: string): Promise<void> {
    const opened = this.#folders.get(path);
    this.#folders.delete(path);
    await opened?.then((folder) => folder.close()).catch(() => undefined);
  }
  async #makeFolder(path: string): Promise<FolderSync> {
    try {
      const first = await mkdir(path, { recursive: true, mode: folderMode });
      if (first !== undefined) {
        // Every folder that was made stands in one that must know of it.
        for (let made = path; made.length >= first.length; made = dirname(made)) {
          const parent = new FolderSync(await open(dirname(made), "r"));
          await parent.sync().finally(() => parent.close());
        }
      }
      return new FolderSync(await open(path, "r"));
    } catch (error) {
      throw isOmniQError(error) ? error : diskError(error, path);
    }
  }

  async #walk(folder: string): Promise<string[]> {
    if (this.#closed) throw new OmniQError("OMNIQ_CLOSED", "The store is closed; make a new one to go on");
    const keys: string[] = [];
    const entries = await readdir(join(this.#root, folder), { withFileTypes: true }).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
      throw diskError(error, join(this.#root, folder));
    });
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory()) keys.push(...(await this.#walk(`${folder}${entry.name}/`)));
      else if (entry.isFile()) keys.push(folder + entry.name);
    }
    return keys;
  }

  async #clean(): Promise<void> {
    const folder = join(this.#root, tempFolder);
    for (const name of await namesIn(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && Date.now() - found.mtimeMs > abandonedMs) await unlink(path).catch(() => undefined);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw diskError(error, folder);
  });
}

async function writeWhole(path: string, body: Uint8Array): Promise<void> {
  const handle = await open(path, "wx", fileMode);
  try {
    await handle.writeFile(body);
    // After a failed fsync nothing is known of the file, so it is never synced again: it is discarded.
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs a folder; who asks while a sync is under way shares the next one. */
class FolderSync {
  readonly #handle: FileHandle;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }
  sync(): Promise<void> {
    if (this.#running === undefined) {
      const running: Promise<void> = this.#handle.sync().finally(() => {
        if (this.#running === running) this.#running = undefined;
      });
      this.#running = running;
      return running;
    }
    return (this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.sync();
      }));
  }
  async close(): Promise<void> {
    await this.#running?.catch(() => undefined);
    await this.#handle.close();
  }
}
