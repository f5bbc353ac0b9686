// The state machine with its lanes: applies whole commits, so that a request that stands in the log twice takes effect once.
import { OmniQError } from "@omniq/core";
import { apply } from "./apply.ts";
import type { Commit, CommitRequest } from "./commit.ts";
import { failureOf, type CommandFailure } from "./executor.ts";
import { readCommand } from "./read-command.ts";
import { damagedCheckpoint, decodePieces, encodePieces } from "./pieces.ts";
import { decodeState, encodeState } from "./snapshot.ts";
import { createState, newestRules, type Moment, type ReplicaState } from "./state.ts";

export type OperationAnswer = { readonly value: unknown } | { readonly failure: CommandFailure };
/** `duplicate`: it had been applied before; the answers are those of then. `refused`: its lane is unknown and can't be taken; final. */
export type RequestOutcome =
  | { readonly state: "applied" | "duplicate"; readonly answers: readonly OperationAnswer[] }
  | { readonly state: "refused" };

interface LaneRecord {
  n: number;
  answers: readonly OperationAnswer[];
  usedAt: number;
}

const unreadableCommand: CommandFailure = {
  code: "OMNIQ_ITEM_DAMAGED",
  message: "The command cannot be read, so it has changed nothing",
};

/** How many lanes are kept: well above the number of live processes. Part of the format: all replicas evict alike. */
export const laneLimit = 4_096;

export class Machine {
  readonly state: ReplicaState;
  /** The position of the last commit applied, and its id. */
  position = 0;
  commitId = "";
  /** No lane made before this position is taken in any more. */
  #floor = 0;
  /** The last commit that an operator declared void: lanes that were made before it may have begun in it. */
  #declaredVoid = 0;
  /** Least recently used first. */
  readonly #lanes = new Map<string, LaneRecord>();

  readonly #laneLimit: number;

  /** `lanes`: other than {@link laneLimit} only for tests, where all replicas of a log have the same. */
  constructor(state: ReplicaState = createState(), lanes: number = laneLimit) {
    this.state = state;
    this.#laneLimit = lanes;
  }

  /** Applies a commit and says what became of each of its requests, in order. */
  applyCommit(commit: Commit, position: number, storedAt?: number): readonly RequestOutcome[] {
    const at = Math.max(this.state.at, storedAt ?? commit.at);
    this.state.at = at;
    this.position = position;
    this.commitId = commit.id;
    const moment: Moment = { at, commitId: commit.id, rules: commit.rules ?? newestRules };
    return commit.requests.map((request) => this.#applyRequest(request, position, moment));
  }

  /** A position that holds no commit. `commitId` stands for it where commits name the one before; `isDeclared`: by an operator. */
  skip(position: number, commitId: string | undefined, isDeclared: boolean): void {
    this.position = position;
    if (commitId !== undefined) this.commitId = commitId;
    if (isDeclared) this.#declaredVoid = position;
  }

  /** What is kept of a request that was applied. */
  answersOf(laneId: string, n: number): readonly OperationAnswer[] | undefined {
    const lane = this.#lanes.get(laneId);
    return lane?.n === n ? lane.answers : undefined;
  }
  knowsLane(laneId: string): boolean {
    return this.#lanes.has(laneId);
  }

  /** The state with its lanes, as a checkpoint holds it: text in pieces, see {@link encodePieces}. */
  encode(): readonly string[] {
    const lanes = [...this.#lanes].map(([id, { n, answers, usedAt }]) => [id, n, usedAt, answers] as const);
    const { position, commitId } = this;
    const [floor, declaredVoid] = [this.#floor, this.#declaredVoid];
    return encodePieces({ position, commitId, floor, declaredVoid, lanes, state: encodeState(this.state) });
  }
  /** What {@link encode} gave, wherever it is cut by now, or the one JSON text of before. Anything else is `OMNIQ_BACKEND_FAILED`. */
  static decode(pieces: readonly string[], lanes: number = laneLimit): Machine {
    try {
      const isOld = pieces.find((piece) => piece !== "")?.startsWith("{") === true;
      const saved = (isOld ? JSON.parse(pieces.join("")) : decodePieces(pieces)) as {
        position: number;
        commitId: string;
        floor: number;
        declaredVoid?: number;
        lanes: readonly (readonly [string, number, number, readonly OperationAnswer[]])[];
        state: unknown;
      };
      const machine = new Machine(decodeState(saved.state), lanes);
      machine.position = saved.position;
      machine.commitId = saved.commitId;
      machine.#floor = saved.floor;
      machine.#declaredVoid = saved.declaredVoid ?? 0;
      for (const [id, n, usedAt, answers] of saved.lanes) machine.#lanes.set(id, { n, usedAt, answers });
      return machine;
    } catch (error) {
      throw error instanceof OmniQError ? error : damagedCheckpoint(error);
    }
  }

  #applyRequest(request: CommitRequest, position: number, moment: Moment): RequestOutcome {
    const { lane, n, operations } = request;
    if (lane === undefined) return { state: "applied", answers: this.#run(operations, moment) };
    const known = this.#lanes.get(lane.id);
    if (known !== undefined && n <= known.n) return { state: "duplicate", answers: known.answers };
    if (known === undefined && ((n !== 1 && lane.since >= this.#declaredVoid) || lane.since < this.#floor))
      return { state: "refused" };
    const answers = this.#run(operations, moment);
    this.#lanes.delete(lane.id);
    this.#lanes.set(lane.id, { n, answers, usedAt: position });
    if (this.#lanes.size > this.#laneLimit) this.#evict();
    return { state: "applied", answers };
  }

  #run(operations: CommitRequest["operations"], { at, commitId, rules }: Moment): readonly OperationAnswer[] {
    const { unreadable } = this.state.journal;
    return operations.map((operation): OperationAnswer => {
      try {
        const command = readCommand(operation, (what) => void unreadable.add(what));
        if (command === undefined) return { failure: unreadableCommand };
        return { value: apply(this.state, command, at, commitId, rules) };
      } catch (error) {
        return { failure: failureOf(error) };
      }
    });
  }

  #evict(): void {
    const [oldest] = this.#lanes;
    if (oldest === undefined) return;
    this.#lanes.delete(oldest[0]);
    this.#floor = Math.max(this.#floor, oldest[1].usedAt);
  }
}
