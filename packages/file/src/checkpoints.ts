// Checkpoints and deletion, rules 4 and 5 of the commit log: parts first, then a manifest, each made only if absent.
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import type { LogCheckpoint } from "@omniq/replica";
import {
  checkpointKey,
  checkpointPrefix,
  logPrefix,
  partKey,
  partPrefix,
  positionOf,
  positionOfPart,
} from "./names.ts";
import type { CreateAnswer, ListAnswer, ObjectStore } from "./object-store.ts";
import { readCheckpoints, type Checkpoints as Listed } from "./trust.ts";

interface Manifest {
  readonly format: 1;
  readonly position: number;
  readonly parts: readonly { readonly key: string; readonly checksum: string }[];
}

/** Characters of text in one part. */
const partLength = 4_194_304;
const deletedAtOnce = 1_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const checksumOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("base64url").slice(0, 22);

export interface CheckpointOptions {
  /** Names are deleted only when the checkpoints that stand for them are older than this. */
  readonly graceMs: number;
  /** How long a write whose outcome is unknown is sent again, and how long it rests in between. */
  readonly giveUpMs: number;
  readonly resendMs: number;
}

export class Checkpoints {
  readonly #store: ObjectStore;
  readonly #options: CheckpointOptions;
  readonly #hear: (date: number | undefined) => void;
  /** Manifests never change. */
  readonly #manifests = new Map<number, Manifest>();

  constructor(store: ObjectStore, options: CheckpointOptions, hear: (date: number | undefined) => void) {
    this.#store = store;
    this.#options = options;
    this.#hear = hear;
  }

  async list(): Promise<ListAnswer> {
    const answer = await this.#store.list(checkpointPrefix);
    this.#hear(answer.date);
    return answer;
  }

  /** The newest checkpoint, and the date of the list that named it. */
  async newest(): Promise<{ readonly checkpoint: LogCheckpoint | undefined; readonly date: number | undefined }> {
    // A manifest or a part that is gone was deleted for newer ones: list again.
    for (let missing: string | undefined; ;) {
      const { positions, date } = readCheckpoints(await this.list());
      const [position] = positions;
      if (position === undefined) return { checkpoint: undefined, date };
      const body = await this.#load(position);
      if (typeof body === "string") return { checkpoint: { position, body }, date };
      if (missing === body.missing) {
        throw new OmniQError(
          "OMNIQ_BACKEND_FAILED",
          `${missing} is missing, although the newest checkpoint names it; restore the store from a backup, and look for a lifecycle rule that deletes`,
        );
      }
      missing = body.missing;
    }
  }

  async #load(position: number): Promise<string | { readonly missing: string }> {
    const manifest = await this.#manifest(position);
    if (manifest === undefined) return { missing: checkpointKey(position) };
    const parts: string[] = [];
    for (const { key, checksum } of manifest.parts) {
      const { object, date } = await this.#store.read(key);
      this.#hear(date);
      if (object === undefined) return { missing: key };
      if (checksumOf(object.body) !== checksum) throw damaged(key);
      parts.push(decoder.decode(object.body));
    }
    return parts.join("");
  }

  async #manifest(position: number): Promise<Manifest | undefined> {
    const known = this.#manifests.get(position);
    if (known !== undefined) return known;
    const key = checkpointKey(position);
    const { object, date } = await this.#store.read(key);
    this.#hear(date);
    if (object === undefined) return undefined;
    const manifest = readManifest(decoder.decode(object.body), key);
    this.#manifests.set(position, manifest);
    return manifest;
  }

  /** Writes one, unless one of this or a later position is there; then deletes what no one needs any more. */
  async write({ position, body }: LogCheckpoint): Promise<void> {
    const before = readCheckpoints(await this.list());
    if ((before.positions[0] ?? 0) >= position) return;
    const attempt = randomUUID();
    const parts: { readonly key: string; readonly checksum: string }[] = [];
    for (const piece of cut(body)) {
      const bytes = encoder.encode(piece);
      const key = partKey(position, attempt, parts.length);
      parts.push({ key, checksum: checksumOf(bytes) });
      await this.#create(key, bytes);
    }
    const manifest: Manifest = { format: 1, position, parts };
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
    for (const position of remaining) {
      const manifest = await this.#manifest(position);
      // Someone else deletes meanwhile; the next time will do.
      if (manifest === undefined) return;
      for (const { key } of manifest.parts) named.add(key);
    }
    const { objects } = await this.#store.list(partPrefix);
    const keys = objects.map(({ key }) => key);
    // Above the newest manifest they may be those of one that is about to come.
    await this.#delete(
      keys.filter((key) => !named.has(key) && (positionOfPart(key) ?? Number.POSITIVE_INFINITY) <= newest),
    );
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

function cut(text: string): readonly string[] {
  const pieces: string[] = [];
  for (let start = 0; start < text.length;) {
    let end = Math.min(text.length, start + partLength);
    // A character of two units stays whole.
    const last = text.charCodeAt(end - 1);
    if (end < text.length && last >= 0xd800 && last <= 0xdbff) end++;
    pieces.push(text.slice(start, end));
    start = end;
  }
  return pieces;
}

function readManifest(text: string, key: string): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch {
    throw damaged(key);
  }
  const { format } = manifest as { readonly format?: unknown };
  if (typeof format === "number" && format > 1) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `${key} was written by a newer OmniQ (format ${format}); update this process`,
    );
  }
  if (format !== 1 || !Array.isArray(manifest.parts)) throw damaged(key);
  return manifest;
}

function damaged(key: string): OmniQError {
  return new OmniQError("OMNIQ_BACKEND_FAILED", `${key} is damaged or not OmniQ's; restore the store from a backup`);
}
