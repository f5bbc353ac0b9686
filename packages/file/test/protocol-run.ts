// One random schedule of the commit log: processes write, read, checkpoint, delete, sleep and die, and an oracle watches the store.
// The properties are those of the protocol's model: S1 one history, S2 acknowledged is applied once and kept, S3 unacknowledged at most
// once, S4 nobody acts on a ghost, S5 reads are not older than what was there before them, L everyone gets an answer and idle processes
// come to know of all, GC what is old is deleted.
import { CommitLog } from "@omniq/file";
import { Replica } from "@omniq/replica";
import { noScenarios, Oracle, type Scenarios } from "./protocol-oracle.ts";
import { SimulatedWorld, type SimulatedWorldOptions } from "./simulated-store.ts";
import { seeded, VirtualTime } from "./virtual-time.ts";

export interface RunOptions extends Pick<SimulatedWorldOptions, "frozenDates" | "careless"> {
  readonly seed: number;
  readonly steps: number;
  readonly processes: number;
  readonly graceMs: number;
  readonly laneLimit: number;
  /** Nobody sleeps or dies, and checkpoints come more often than the grace. */
  readonly steady?: boolean | undefined;
}

interface Process {
  /** Another one for each life. */
  id: number;
  alive: boolean;
  asleepUntil: number;
  replica: Replica | undefined;
  log: CommitLog | undefined;
  busy: boolean;
}

const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
/** Turns of the end, after which whatever still waits would wait for ever. */
const patience = 20_000;

/** Runs one, and answers with what came up in it. Rejects with a `Violation`. */
export async function runSchedule(options: RunOptions): Promise<Scenarios> {
  using time = new VirtualTime(options.seed);
  return await new Schedule(options, time).run();
}

class Schedule {
  readonly #options: RunOptions;
  readonly #time: VirtualTime;
  readonly #random: () => number;
  readonly #scenarios = noScenarios();
  readonly #oracle: Oracle;
  readonly #world: SimulatedWorld;
  readonly #processes: readonly Process[];
  readonly #acknowledged = new Set<string>();
  #requests = 0;

  constructor(options: RunOptions, time: VirtualTime) {
    const { seed, laneLimit, careless = false, steady = false } = options;
    this.#options = options;
    this.#time = time;
    this.#random = seeded(seed);
    this.#oracle = new Oracle(this.#scenarios, { seed, laneLimit, careless, steady });
    this.#world = new SimulatedWorld({
      ...options,
      random: this.#random,
      skewMs: options.graceMs / 16,
      landed: (landing) => this.#oracle.landed(landing),
    });
    this.#processes = Array.from({ length: options.processes }, (_, index) => ({
      id: index,
      alive: false,
      asleepUntil: 0,
      replica: undefined,
      log: undefined,
      busy: false,
    }));
  }

  async run(): Promise<Scenarios> {
    for (const process of this.#processes) this.#start(process);
    for (let step = 0; step < this.#options.steps && this.#oracle.violation === undefined; step++) {
      this.#step();
      if (step % 8 === 0) this.#oracle.checkStore(this.#world);
      await settle();
    }
    if (this.#oracle.violation === undefined) await this.#end();
    await this.#close();
    if (this.#oracle.violation !== undefined) throw this.#oracle.violation;
    return this.#scenarios;
  }

  #isAwake(id: number): boolean {
    const process = this.#processes[id % this.#processes.length] as Process;
    return this.#world.time >= process.asleepUntil;
  }

  #step(): void {
    const { graceMs, steady = false } = this.#options;
    const random = this.#random;
    const luck = random();
    const process = this.#processes[Math.floor(random() * this.#processes.length)] as Process;
    if (luck < 0.006) this.#world.landLate();
    else if (luck < 0.015 && process.alive && !steady) this.#crash(process);
    else if (luck < 0.03 && !steady) {
      this.#scenarios.sleeps++;
      process.asleepUntil = this.#world.time + random() * 6 * graceMs;
    } else if (luck < 0.13)
      this.#world.time += Math.round(random() * graceMs * (steady ? 0.08 : random() < 0.2 ? 1 : 0.1));
    else if (luck < 0.3) {
      if (!process.alive) this.#start(process);
      else if (this.#isAwake(process.id)) this.#act(process);
    } else if (luck < 0.36) this.#time.fireNext();
    else if (!this.#world.step((id) => this.#isAwake(id))) {
      this.#world.time += Math.round(random() * graceMs * (steady ? 0.005 : 0.05));
      this.#time.fireNext();
    }
  }

  #start(process: Process): void {
    process.alive = true;
    process.busy = true;
    const log = this.#openLog(process.id);
    process.log = log;
    Replica.open(log, { resendMs: 1, checkpointBytes: 300, laneLimit: this.#options.laneLimit }).then(
      (replica) => {
        if (process.log !== log) return void replica.close();
        process.replica = replica;
        process.busy = false;
      },
      (error: unknown) => this.#oracle.violate(`opening failed: ${String(error)}`),
    );
  }
  #openLog(id: number): CommitLog {
    return new CommitLog(this.#world.client(id), {
      deletionGraceMs: this.#options.graceMs,
      pollMs: { busy: 20, idle: 100 },
      resendMs: 1,
      readAhead: 4,
    });
  }
  #crash(process: Process): void {
    this.#scenarios.crashes++;
    process.alive = false;
    void process.replica?.close().catch(() => undefined);
    void process.log?.close();
    process.replica = process.log = undefined;
    this.#world.crash(process.id);
    process.id += this.#processes.length;
  }

  #act(process: Process): void {
    const { replica, log } = process;
    if (replica === undefined || log === undefined || process.busy) return;
    const luck = this.#random();
    process.busy = true;
    const work =
      luck < 0.6 ? this.#write(process, replica) : luck < 0.85 ? this.#read(process, replica) : log.deleteOld();
    void work
      .catch(() => undefined)
      .then(() => {
        if (process.log !== log) return;
        process.busy = false;
        this.#oracle.checkApplied(replica.encode());
      });
  }
  async #write(process: Process, replica: Replica): Promise<void> {
    const { log } = process;
    const id = `m${this.#requests++}`;
    const schedule = { id, rule: "r", template: "t", nextAt: null, runs: 0, paused: false };
    const [stored] = await replica.execute([{ verb: "putSchedule", schedule }]).catch((error: unknown) => {
      if (process.log === log) this.#scenarios.unknown++;
      throw error;
    });
    if (process.log !== log) return;
    const { machine, appliedAt } = this.#oracle;
    this.#acknowledged.add(id);
    this.#scenarios.acknowledged++;
    if (!appliedAt.has(id)) this.#oracle.violate(`S2: request ${id} was acknowledged and never applied`);
    if (machine.state.schedules.byId.get(id)?.revision !== stored?.revision)
      this.#oracle.violate(`S2: request ${id} got another answer`);
  }
  async #read(process: Process, replica: Replica): Promise<void> {
    const { log } = process;
    const from = this.#oracle.history.length;
    await replica.execute([{ verb: "listSchedules", page: { limit: 1 } }]);
    if (process.log === log && replica.position() < from)
      this.#oracle.violate(`S5: a read that began after commit ${from} answered from ${replica.position()}`);
  }

  /** In the end all wake, everything is answered, and a new process finds the whole history. */
  async #end(): Promise<void> {
    for (const process of this.#processes) process.asleepUntil = 0;
    while (this.#world.landLate());
    const { history, appliedAt } = this.#oracle;
    const isBehind = ({ alive, busy, replica }: Process): boolean =>
      alive && (busy || replica === undefined || replica.position() < history.length);
    for (let turn = 0; this.#processes.some(isBehind) && turn < patience; turn++) await this.#turn();
    const behind = this.#processes.find(isBehind);
    if (behind !== undefined)
      this.#oracle.violate(
        `L: a process ${behind.busy ? "waits for an answer" : "stays"} at ${behind.replica?.position()} of ${history.length}`,
      );
    if (this.#options.steady === true && history.length > 30 && this.#scenarios.deleted === 0)
      this.#oracle.violate(`GC: nothing of ${history.length} commits was deleted under steady load`);

    const log = this.#openLog(this.#processes.length * 10_000);
    const { laneLimit } = this.#options;
    const late = await this.#until(
      Replica.open(log, { resendMs: 1, laneLimit, checkpointBytes: Number.MAX_SAFE_INTEGER }),
    );
    // Only what was acknowledged before the read is sent must be in it; the others go on meanwhile.
    const kept = [...this.#acknowledged];
    await this.#until(late.execute([{ verb: "listSchedules", page: { limit: 1 } }]));
    const found = late.view().schedules.byId;
    for (const id of kept)
      if (!found.has(id))
        this.#oracle.violate(`S2: acknowledged request ${id} is gone; it was at ${appliedAt.get(id)}`);
    for (const id of found.keys()) if (!appliedAt.has(id)) this.#oracle.violate(`S1: request ${id} came from nowhere`);
    this.#oracle.checkStore(this.#world);

    for (let tried = 0; tried < 20; tried++) {
      this.#world.time += 3 * this.#options.graceMs;
      await this.#until(log.deleteOld().catch(() => undefined));
      while (this.#world.landLate());
    }
    this.#oracle.checkDeleted(this.#world);
    this.#oracle.checkStore(this.#world);
    await this.#until(late.close());
    await log.close();
  }

  async #close(): Promise<void> {
    const closing = this.#processes.map(async ({ replica, log }) => {
      await replica?.close();
      await log?.close();
    });
    await this.#until(Promise.all(closing));
  }

  /** The store answers something, or time goes on. */
  async #turn(): Promise<void> {
    if (!this.#world.step(() => true)) {
      this.#world.time += 10;
      this.#time.fireNext();
    }
    await settle();
  }
  async #until<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const done = promise.finally(() => (over = true));
    while (!over) await this.#turn();
    return await done;
  }
}
