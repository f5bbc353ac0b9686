// What watches the store of a schedule: it replays the first commit of each position, checks the protocol's properties, and counts what came up.
import { decodeCommit, decodePieces, Machine, type Commit } from "@omniq/replica";
import type { Landing, SimulatedWorld } from "./simulated-store.ts";

/** What came up in schedules: the scenarios of the protocol's model, each of which a run of many must have met. */
export interface Scenarios {
  /** Commits in the log. */
  commits: number;
  acknowledged: number;
  /** Calls whose outcome stayed unknown to their caller. */
  unknown: number;
  crashes: number;
  sleeps: number;
  /** Reads of a commit that was deleted: a reader with a stale view. */
  staleReads: number;
  /** Commits that were created under a name whose first commit was deleted, and those of them whose sender was told "created". */
  ghosts: number;
  ghostsHeard: number;
  /** Writes that became part of the log after their sender had given them up or was dead. */
  lateWrites: number;
  /** Processes that loaded the state anew, having applied commits before. */
  resynchronised: number;
  /** Requests that were refused, as their lane was evicted or too old. */
  evictedLanes: number;
  /** Manifests whose answer was lost, so that their writer met its own. */
  lostManifestAnswers: number;
  /** Parts that no manifest ever named, deleted by another process than the one that wrote them. */
  orphanParts: number;
  /** Commits deleted, and those of them that were deleted while nobody rested. */
  deleted: number;
  deletedUnderLoad: number;
}
export function noScenarios(): Scenarios {
  return {
    commits: 0,
    acknowledged: 0,
    unknown: 0,
    crashes: 0,
    sleeps: 0,
    staleReads: 0,
    ghosts: 0,
    ghostsHeard: 0,
    lateWrites: 0,
    resynchronised: 0,
    evictedLanes: 0,
    lostManifestAnswers: 0,
    orphanParts: 0,
    deleted: 0,
    deletedUnderLoad: 0,
  };
}

/** A property was broken. */
export class Violation extends Error {}

const decoder = new TextDecoder();
interface Manifest {
  readonly position: number;
  readonly parts: readonly { readonly key: string }[];
}

export class Oracle {
  readonly history: { readonly body: string; readonly commit: Commit }[] = [];
  readonly machine: Machine;
  /** Where each request took effect. */
  readonly appliedAt = new Map<string, number>();
  violation: Violation | undefined;
  readonly #seed: number;
  readonly #scenarios: Scenarios;
  readonly #overwrites: boolean;
  readonly #underLoad: boolean;
  readonly #makers = new Map<string, number>();
  readonly #named = new Set<string>();
  readonly #loaded = new Set<number>();

  constructor(
    scenarios: Scenarios,
    options: {
      readonly seed: number;
      readonly laneLimit: number;
      readonly careless: boolean;
      readonly steady: boolean;
    },
  ) {
    this.#scenarios = scenarios;
    this.#seed = options.seed;
    this.#overwrites = options.careless;
    this.#underLoad = options.steady;
    this.machine = new Machine(undefined, options.laneLimit);
  }

  violate(what: string): void {
    this.violation ??= new Violation(`seed ${this.#seed}: ${what}`);
  }

  /** Hears of each call that lands. */
  landed(landing: Landing): void {
    const { key, kind } = landing;
    if (key.startsWith("log/")) {
      const position = Number(key.slice(4));
      if (kind === "read" && landing.body === undefined && position <= this.history.length)
        this.#scenarios.staleReads++;
      if (kind === "create" && landing.created) this.#created(position, landing);
      if (kind === "delete" && landing.body !== undefined) {
        this.#scenarios.deleted++;
        if (this.#underLoad) this.#scenarios.deletedUnderLoad++;
      }
      return;
    }
    if (kind === "create") {
      if (!landing.created && key.startsWith("checkpoint/") && this.#makers.get(key) === landing.process)
        this.#scenarios.lostManifestAnswers++;
      if (landing.created) this.#makers.set(key, landing.process);
      if (landing.created && key.startsWith("checkpoint/"))
        for (const part of manifestOf(landing.body).parts) this.#named.add(part.key);
    } else if (kind === "delete" && key.startsWith("part/") && landing.body !== undefined) {
      if (!this.#named.has(key) && this.#makers.get(key) !== landing.process) this.#scenarios.orphanParts++;
    } else if (kind === "read" && key.startsWith("part/") && key.endsWith("/0")) {
      if (this.#loaded.has(landing.process)) this.#scenarios.resynchronised++;
      this.#loaded.add(landing.process);
    }
  }

  #created(position: number, { body, late }: Landing): void {
    const text = decoder.decode(body);
    if (position <= this.history.length) {
      if (this.#overwrites && this.history[position - 1]?.body !== text)
        this.violate(`S1: commit ${position} was overwritten`);
      this.#scenarios.ghosts++;
      if (!late) this.#scenarios.ghostsHeard++;
      return;
    }
    const commit = decodeCommit(text, position);
    if (position !== this.history.length + 1) return this.violate(`S1: commit ${position} leaves a hole`);
    if (commit.previous !== (this.history.at(-1)?.commit.id ?? ""))
      return this.violate(`S1: commit ${position} follows another one`);
    this.history.push({ body: text, commit });
    this.#scenarios.commits++;
    if (late) this.#scenarios.lateWrites++;
    const outcomes = this.machine.applyCommit(commit, position);
    for (const [index, { operations }] of commit.requests.entries()) {
      const state = outcomes[index]?.state;
      if (state === "refused") this.#scenarios.evictedLanes++;
      if (state === "applied") for (const operation of operations) this.#applied(operation, position);
    }
  }
  #applied(operation: Commit["requests"][number]["operations"][number], position: number): void {
    if (operation.verb !== "putSchedule") return;
    const { id } = operation.schedule;
    const before = this.appliedAt.get(id);
    if (before !== undefined) this.violate(`S3: request ${id} was applied twice, at ${before} and ${position}`);
    this.appliedAt.set(id, position);
  }

  /** S4: everything that a replica has applied is the one history. `encoded`: its state as a checkpoint holds it. */
  checkApplied(encoded: string): void {
    const { position, commitId } = decodePieces([encoded]) as { position: number; commitId: string };
    if (position > 0 && this.history[position - 1]?.commit.id !== commitId)
      this.violate(`S4: applied a ghost at ${position}`);
  }

  /** S2: the store alone always gives back the whole history. */
  checkStore({ objects }: SimulatedWorld): void {
    const newest = [...objects.keys()]
      .filter((key) => key.startsWith("checkpoint/"))
      .sort()
      .at(-1);
    let from = 0;
    if (newest !== undefined) {
      const manifest = manifestOf(objects.get(newest)?.body);
      from = manifest.position;
      for (const { key } of manifest.parts) if (!objects.has(key)) this.violate(`S2: ${newest} has lost ${key}`);
    }
    for (let position = from + 1; position <= this.history.length; position++) {
      const kept = objects.get(`log/${String(position).padStart(20, "0")}`);
      if (kept === undefined || decoder.decode(kept.body) !== this.history[position - 1]?.body)
        this.violate(`S2: commit ${position} is lost; the newest checkpoint is ${from}`);
    }
  }

  /** GC: after a deletion long after everything, only what stands for something is left. */
  checkDeleted({ objects }: SimulatedWorld): void {
    const keys = [...objects.keys()].sort();
    const manifests = keys
      .filter((key) => key.startsWith("checkpoint/"))
      .map((key) => manifestOf(objects.get(key)?.body));
    const [second, newest] = manifests.slice(-2);
    if (second === undefined || newest === undefined) return;
    if (manifests.length > 2) this.violate(`GC: ${manifests.length} checkpoints stay`);
    const old = keys.filter((key) => key.startsWith("log/") && Number(key.slice(4)) <= second.position);
    if (old.length > 0) this.violate(`GC: ${old.length} commits up to ${second.position} stay`);
    const named = new Set(manifests.flatMap(({ parts }) => parts.map(({ key }) => key)));
    const parts = keys.filter((key) => key.startsWith("part/") && Number(key.slice(5, 25)) <= newest.position);
    for (const key of parts) if (!named.has(key)) this.violate(`GC: ${key} stays, and no checkpoint names it`);
  }
}

function manifestOf(body: Uint8Array | undefined): Manifest {
  return JSON.parse(decoder.decode(body)) as Manifest;
}
