// Checkpoints and deletion, rules 4 and 5 of the commit log: parts first, then a manifest, each made only if absent.
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import type { LogCheckpoint, ReplicaOptions } from "@omniq/replica";
import {
  checkpointKey,
  checkpointPrefix,
  logPrefix,
  partKey,
  partPrefix,
  positionOf,
  positionOfPart,
} from "./names.ts";
import type { CreateAnswer, ListAnswer, ListedObject, ObjectStore } from "./object-store.ts";
import { readCheckpoints, type Checkpoints as Listed } from "./trust.ts";

interface Manifest {
  /** 1: the text is one JSON value. 2: it is lines, see `encodePieces` of @omniq/replica. */
  readonly format: 1 | 2;
  readonly position: number;
  readonly parts: readonly { readonly key: string; readonly checksum: string }[];
  /** From format 2 on: of all the rest, so that damage is no newer format. */
  readonly check?: string;
}
type Broken = { readonly missing: string } | { readonly damaged: string };

/** What is larger is no manifest, and no part, of ours. */
const manifestBytes = 67_108_864;
const partBytes = 536_870_912;

/** Characters of text in one part. */
const partLength = 4_194_304;
const deletedAtOnce = 1_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const checksumOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64url").slice(0, 22);

const checkOf = (format: number, position: number, parts: Manifest["parts"]): string =>
  checksumOf(encoder.encode(JSON.stringify([format, position, parts])));

export interface CheckpointOptions {
  /** Names are deleted only when the checkpoints that stand for them are older than this. */
  readonly graceMs: number;
  /** How long a write whose outcome is unknown is sent again, and how long it rests in between. */
  readonly giveUpMs: number;
  readonly resendMs: number;
  /** Hears of what stands in the store and can't be read. */
  readonly report?: ReplicaOptions["report"];
}

export class Checkpoints {
  readonly #store: ObjectStore;
  readonly #options: CheckpointOptions;
  readonly #hear: (date: number | undefined) => void;
  /** Manifests never change. Null: what stands under the name of one is none. */
  readonly #manifests = new Map<number, Manifest | null>();
  readonly #reported = new Set<string>();

  constructor(store: ObjectStore, options: CheckpointOptions, hear: (date: number | undefined) => void) {
    this.#store = store;
    this.#options = options;
    this.#hear = hear;
  }

  /** The manifests that are there. What stands under the name of one and is none counts for nothing; each new name is read once to tell. */
  async list(): Promise<ListAnswer> {
    const answer = await this.#store.list(checkpointPrefix);
    this.#hear(answer.date);
    const objects: ListedObject[] = [];
    for (const object of answer.objects) {
      const position = positionOf(checkpointPrefix, object.key);
      if (position === undefined || (await this.#manifest(position)) === null) continue;
      objects.push(object);
    }
    return { ...answer, objects };
  }

  /**
   * The newest whole checkpoint (below a position), and the date of the list that named it. Where the newest is damaged the one before it stands
   * in, whose log is still there. Rejects with `OMNIQ_BACKEND_FAILED` where neither is whole.
   */
  async newest(
    below: number = Number.POSITIVE_INFINITY,
  ): Promise<{ readonly checkpoint: LogCheckpoint | undefined; readonly date: number | undefined }> {
    // An operator may have put right what was none.
    for (const [position, manifest] of this.#manifests) if (manifest === null) this.#manifests.delete(position);
    // A manifest or a part that is gone was deleted for newer ones: list again.
    for (let missing: string | undefined; ;) {
      const { positions, floor, date } = readCheckpoints(await this.list());
      let broken: string | undefined;
      let again = false;
      // Below the floor commits may be gone, so that no older one helps.
      for (const position of positions.filter((each) => each >= floor && each < below)) {
        const loaded = await this.#load(position);
        if (Array.isArray(loaded)) return { checkpoint: { position, pieces: loaded }, date };
        if ("missing" in loaded && loaded.missing !== missing) {
          missing = loaded.missing;
          again = true;
          break;
        }
        broken = "missing" in loaded ? `${loaded.missing} is missing` : `${loaded.damaged} is damaged`;
        this.#report(`${broken}: the checkpoint before ${position} stands in`, { position });
      }
      if (again) continue;
      if (floor === 0) return { checkpoint: undefined, date };
      throw new OmniQError(
        "OMNIQ_BACKEND_FAILED",
        `${broken ?? "No checkpoint is whole"}, and the checkpoint before is of no use either; restore the store from a backup, and look for a ` +
          "lifecycle rule that deletes. A process that still has the state mends it with its next checkpoint",
      );
    }
  }

  async #load(position: number): Promise<string[] | Broken> {
    const manifest = await this.#manifest(position);
    if (manifest === undefined) return { missing: checkpointKey(position) };
    if (manifest === null) return { damaged: checkpointKey(position) };
    const pieces: string[] = [];
    for (const { key, checksum } of manifest.parts) {
      const { object, date } = await this.#store.read(key, partBytes);
      this.#hear(date);
      if (object === undefined) return { missing: key };
      if (checksumOf(object.body) !== checksum) return { damaged: key };
      pieces.push(decoder.decode(object.body));
    }
    return pieces;
  }

  async #manifest(position: number): Promise<Manifest | null | undefined> {
    const known = this.#manifests.get(position);
    if (known !== undefined) return known;
    const key = checkpointKey(position);
    const { object, date } = await this.#store.read(key, manifestBytes);
    this.#hear(date);
    if (object === undefined) return undefined;
    const manifest = readManifest(decoder.decode(object.body), position);
    this.#manifests.set(position, manifest);
    if (manifest === null) this.#report(`${key} is damaged or not OmniQ's: it counts for nothing`, { name: key });
    return manifest;
  }

  /** Writes one, unless one of this or a later position is there; then deletes what no one needs any more. */
  async write({ position, pieces }: LogCheckpoint): Promise<void> {
    const before = readCheckpoints(await this.list());
    if ((before.positions[0] ?? 0) >= position) return;
    const attempt = randomUUID();
    const parts: { readonly key: string; readonly checksum: string }[] = [];
    for (const piece of cut(pieces)) {
      const bytes = encoder.encode(piece);
      const key = partKey(position, attempt, parts.length);
      parts.push({ key, checksum: checksumOf(bytes) });
      await this.#create(key, bytes);
    }
    const manifest: Manifest = { format: 2, position, parts, check: checkOf(2, position, parts) };
    const key = checkpointKey(position);
    const state = await this.#create(key, encoder.encode(`${JSON.stringify(manifest)}\n`));
    if (state === "exists") {
      const standing = await this.#manifest(position);
      // Another's, or deleted by now; else it is mine, and only the answer was lost.
      if (standing?.parts[0]?.key !== parts[0]?.key) await this.#store.delete(parts.map((part) => part.key));
    }
    await this.deleteOld();
  }

  /** Deletes what checkpoints older than the grace stand for. However late and in whatever order, it takes nothing that anyone needs. */
  async deleteOld(): Promise<void> {
    const listed = await this.list();
    const { positions } = readCheckpoints(listed);
    const old = oldCheckpoints(listed, this.#options.graceMs);
    const cut = old[1] ?? 0;
    if (cut > 0) {
      await this.#deleteLog(cut);
      await this.#delete(positions.filter((position) => position < cut).map(checkpointKey));
    }
    const remaining = positions.filter((position) => position >= cut);
    for (const position of this.#manifests.keys()) if (position < cut) this.#manifests.delete(position);
    await this.#deleteParts(remaining);
  }

  /** Names are found by listing, so that those that came back late go too. */
  async #deleteLog(cut: number): Promise<void> {
    for (let after: string | undefined; ;) {
      const { objects } = await this.#store.list(logPrefix, after, deletedAtOnce);
      const within = objects.filter(({ key }) => (positionOf(logPrefix, key) ?? Number.POSITIVE_INFINITY) <= cut);
      await this.#delete(within.map(({ key }) => key));
      after = objects.at(-1)?.key;
      const last = after === undefined ? undefined : positionOf(logPrefix, after);
      if (objects.length < deletedAtOnce || (last !== undefined && last > cut)) return;
    }
  }

  async #deleteParts(remaining: readonly number[]): Promise<void> {
    const [newest] = remaining;
    if (newest === undefined) return;
    const named = new Set<string>();
    const unread = new Set([...this.#manifests].flatMap(([position, manifest]) => (manifest === null ? position : [])));
    for (const position of remaining) {
      const manifest = await this.#manifest(position);
      // Someone else deletes meanwhile; the next time will do.
      if (manifest === undefined || manifest === null) return;
      for (const { key } of manifest.parts) named.add(key);
    }
    const { objects } = await this.#store.list(partPrefix);
    const keys = objects.map(({ key }) => key);
    // Above the newest manifest they may be those of one that is about to come.
    const spare = keys.filter((key) => !named.has(key) && (positionOfPart(key) ?? Number.POSITIVE_INFINITY) <= newest);
    // Those of a manifest that can't be read stay for whoever restores it.
    await this.#delete(spare.filter((key) => !unread.has(positionOfPart(key) ?? 0)));
  }

  #report(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (this.#reported.has(message)) return;
    this.#reported.add(message);
    this.#options.report?.("error", message, fields);
  }

  async #delete(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.#store.delete(keys);
  }

  /** Sends a write again until its outcome is certain. */
  async #create(key: string, body: Uint8Array): Promise<"created" | "exists"> {
    const deadline = performance.now() + this.#options.giveUpMs;
    for (;;) {
      const answer: CreateAnswer = await this.#store.create(key, body);
      this.#hear(answer.date);
      if (answer.state !== "unknown") return answer.state;
      if (performance.now() > deadline) {
        throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The store did not say whether a checkpoint was written", {
          cause: answer.cause,
        });
      }
      await sleep(this.#options.resendMs);
    }
  }
}

/** Positions of the checkpoints that are older than the grace by the store's own times, newest first. */
export function oldCheckpoints(listed: ListAnswer, graceMs: number): readonly number[] {
  const { date } = listed;
  if (date === undefined) return [];
  const old = listed.objects.filter(({ lastModified }) => lastModified !== undefined && date - lastModified > graceMs);
  const { positions }: Listed = readCheckpoints({ objects: old, date });
  return positions;
}

function* cut(texts: readonly string[]): Generator<string> {
  for (const text of texts)
    for (let start = 0; start < text.length;) {
      let end = Math.min(text.length, start + partLength);
      // A character of two units stays whole.
      const last = text.charCodeAt(end - 1);
      if (end < text.length && last >= 0xd800 && last <= 0xdbff) end++;
      yield text.slice(start, end);
      start = end;
    }
}

/** Null for what is no manifest of this position. A newer format is `OMNIQ_ADAPTER_INCOMPATIBLE`. */
function readManifest(text: string, position: number): Manifest | null {
  let manifest: { readonly [K in keyof Manifest]?: unknown };
  try {
    manifest = JSON.parse(text) as typeof manifest;
  } catch {
    return null;
  }
  if (typeof manifest !== "object" || manifest === null || manifest.position !== position) return null;
  const { format, parts } = manifest;
  if (!Number.isSafeInteger(format) || (format as number) < 1) return null;
  if (!Array.isArray(parts) || !parts.every((part) => isPart(part, position))) return null;
  if (new Set(parts.map(({ key }) => key as string)).size !== parts.length) return null;
  if (format !== 1 && manifest.check !== checkOf(format as number, position, parts as Manifest["parts"])) return null;
  if (format !== 1 && format !== 2) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `${checkpointKey(position)} was written by a newer OmniQ (format ${String(format)}); update this process`,
    );
  }
  return manifest as Manifest;
}
function isPart(part: unknown, position: number): boolean {
  const { key, checksum } = (part ?? {}) as { readonly key?: unknown; readonly checksum?: unknown };
  return typeof key === "string" && positionOfPart(key) === position && typeof checksum === "string";
}
