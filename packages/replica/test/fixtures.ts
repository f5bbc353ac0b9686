// What the tests share: tasks with defaults, and a state machine with a clock of its own.
import type { NewTask } from "@omniq/core";
import {
  apply,
  createState,
  decodeState,
  encodeState,
  type AnswerOf,
  type Command,
  type GrantedLease,
  type ReplicaState,
} from "../src/index.ts";

export function task(id: string, more: Partial<NewTask> = {}): NewTask {
  return {
    id,
    name: "n",
    queue: "q",
    payload: `payload of ${id}`,
    envelope: "{}",
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 60_000,
    rememberMs: 10_000,
    ...more,
  };
}

const textOf = (state: ReplicaState): string => JSON.stringify(encodeState(state));

/** Runs every command on two states, of which one went through a checkpoint just before, and fails when they part. */
export class Bench {
  at = 1_000_000;
  state: ReplicaState = createState();
  #commit = 0;

  run<C extends Command>(command: C): AnswerOf<C> {
    const commitId = `commit-${this.#commit++}`;
    const twin = decodeState(JSON.parse(textOf(this.state)));
    const answer = apply(this.state, command, this.at, commitId);
    const twins = apply(twin, command, this.at, commitId);
    if (JSON.stringify(answer) !== JSON.stringify(twins))
      throw new Error(`${command.verb}: a restored state answers otherwise`);
    if (textOf(this.state) !== textOf(twin)) throw new Error(`${command.verb}: a restored state parts`);
    return answer;
  }
  enqueue(...tasks: readonly NewTask[]): string[] {
    const [answer] = this.run({ verb: "enqueue", calls: [{ tasks }] });
    if (answer?.state !== "accepted") throw new Error(`unknown: ${answer?.taskIds.join()}`);
    return answer.receipts.map(({ state }) => state);
  }
  reserve(limit = 100, queues: readonly string[] = ["q"], leaseMs = 1_000): readonly GrantedLease[] {
    return this.run({ verb: "reserve", queues, limit, leaseMs, worker: "w" });
  }
  ids(limit = 100, queues: readonly string[] = ["q"]): string[] {
    return this.reserve(limit, queues).map(({ taskId }) => taskId);
  }
  complete(lease: GrantedLease | undefined, value = "v"): string | undefined {
    if (lease === undefined) return undefined;
    return this.run({ verb: "settle", settlements: [{ ...lease, outcome: "completed", storeResult: true, value }] })[0];
  }
  retry(lease: GrantedLease | undefined, delayMs = 0): string | undefined {
    if (lease === undefined) return undefined;
    return this.run({ verb: "settle", settlements: [{ ...lease, outcome: "retry", delayMs, error: "e" }] })[0];
  }
  release(lease: GrantedLease | undefined): string | undefined {
    if (lease === undefined) return undefined;
    return this.run({ verb: "settle", settlements: [{ ...lease, outcome: "release" }] })[0];
  }
  fail(lease: GrantedLease | undefined): string | undefined {
    if (lease === undefined) return undefined;
    return this.run({
      verb: "settle",
      settlements: [{ ...lease, outcome: "failed", storeResult: true, error: "bad" }],
    })[0];
  }
  stateOf(id: string): string | undefined {
    return this.run({ verb: "getTasks", ids: [id] })[0]?.state;
  }
  counts(queue = "q") {
    return this.run({ verb: "counts", queues: [queue] })[queue];
  }
  unrecorded(): string[] {
    return this.run({ verb: "unrecorded", limit: 100 }).map(({ taskId, status }) => `${taskId} ${status}`);
  }
  recordAll(): void {
    this.run({ verb: "record", outcomes: this.run({ verb: "unrecorded", limit: 1_000 }) });
  }
}
