// One random schedule of the commit log: processes write, read, checkpoint, delete, sleep and die, and an oracle watches the store.
// The properties are those of the protocol's model: S1 one history, S2 acknowledged is applied once and kept, S3 unacknowledged at most
// once, S4 nobody acts on a ghost, S5 reads are not older than what was there before them.
import { CommitLog } from "@omniq/file";
import { decodeCommit, Machine, Replica, type Commit } from "@omniq/replica";
import { seeded, SimulatedWorld, type SimulatedWorldOptions } from "./simulated-store.ts";

export interface RunOptions extends Pick<SimulatedWorldOptions, "frozenDates" | "careless"> {
  readonly seed: number;
  readonly steps: number;
  readonly processes: number;
  readonly graceMs: number;
  readonly laneLimit: number;
}
/** What happened, so that a test can see that what it is about came up. */
export interface RunReport {
  commits: number;
  acknowledged: number;
  unknown: number;
  ghosts: number;
  deleted: number;
  crashes: number;
  sleeps: number;
  resynchronised: number;
}

interface Process {
  alive: boolean;
  asleepUntil: number;
  replica: Replica | undefined;
  log: CommitLog | undefined;
  busy: boolean;
}

const decoder = new TextDecoder();
const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export class Violation extends Error {}

export async function runSchedule(options: RunOptions): Promise<RunReport> {
  const { steps, graceMs, laneLimit } = options;
  const random = seeded(options.seed);
  const report: RunReport = {
    commits: 0,
    acknowledged: 0,
    unknown: 0,
    ghosts: 0,
    deleted: 0,
    crashes: 0,
    sleeps: 0,
    resynchronised: 0,
  };
  let violation: Violation | undefined;
  const violate = (what: string): void => {
    violation ??= new Violation(`seed ${options.seed}: ${what}`);
  };

  // The oracle: the first commit that is created at each position, replayed.
  const history: { readonly body: string; readonly commit: Commit }[] = [];
  const oracle = new Machine(undefined, laneLimit);
  const appliedAt = new Map<string, number>();
  const created = (key: string, bytes: Uint8Array): void => {
    if (!key.startsWith("log/")) return;
    const position = Number(key.slice(4));
    if (position <= history.length) {
      if (options.careless === true && history[position - 1]?.body !== decoder.decode(bytes))
        violate(`S1: commit ${position} was overwritten`);
      report.ghosts++;
      return;
    }
    const body = decoder.decode(bytes);
    const commit = decodeCommit(body, position);
    if (position !== history.length + 1) return violate(`S1: commit ${position} leaves a hole`);
    if (commit.previous !== (history.at(-1)?.commit.id ?? ""))
      return violate(`S1: commit ${position} follows another one`);
    history.push({ body, commit });
    const before = oracle.state.schedules.revision;
    oracle.applyCommit(commit, position);
    if (oracle.state.schedules.revision === before) return;
    for (const { operations } of commit.requests)
      for (const operation of operations) {
        if (operation.verb !== "putSchedule") continue;
        const { id } = operation.schedule;
        if (appliedAt.has(id)) violate(`S3: request ${id} was applied twice, at ${appliedAt.get(id)} and ${position}`);
        appliedAt.set(id, position);
      }
  };
  const world = new SimulatedWorld({ ...options, random, skewMs: graceMs / 8 / 2, created });

  const acknowledged = new Set<string>();
  let requests = 0;
  const processes: Process[] = Array.from({ length: options.processes }, () => ({
    alive: false,
    asleepUntil: 0,
    replica: undefined,
    log: undefined,
    busy: false,
  }));

  const start = (index: number): void => {
    const process = processes[index] as Process;
    process.alive = true;
    process.busy = true;
    const log = new CommitLog(world.client(index), {
      deletionGraceMs: graceMs,
      pollMs: { busy: 20, idle: 100 },
      resendMs: 1,
      readAhead: 4,
    });
    process.log = log;
    Replica.open(log, { resendMs: 1, checkpointBytes: 300, laneLimit }).then(
      (replica) => {
        if (process.log !== log) return void replica.close();
        process.replica = replica;
        process.busy = false;
      },
      (error: unknown) => violate(`opening failed: ${String(error)}`),
    );
  };
  /** Everything that a replica has applied is the one history. */
  const checkApplied = ({ replica }: Process): void => {
    if (replica === undefined || replica.position() === 0) return;
    const { position, commitId } = JSON.parse(replica.encode()) as { position: number; commitId: string };
    if (history[position - 1]?.commit.id !== commitId) violate(`S4: applied a ghost at ${position}`);
  };
  const act = (index: number): void => {
    const process = processes[index] as Process;
    const { replica, log } = process;
    if (replica === undefined || log === undefined || process.busy) return;
    const own = log;
    const luck = random();
    process.busy = true;
    const finish = (): void => {
      if (process.log !== own) return;
      process.busy = false;
      checkApplied(process);
    };
    const ignore = (): void => undefined;
    if (luck < 0.6) {
      const id = `m${requests++}`;
      const schedule = { id, rule: "r", template: "t", nextAt: null, runs: 0, paused: false };
      replica.execute([{ verb: "putSchedule", schedule }]).then(
        ([stored]) => {
          if (process.log !== own) return;
          acknowledged.add(id);
          report.acknowledged++;
          if (!appliedAt.has(id)) violate(`S2: request ${id} was acknowledged and never applied`);
          if (oracle.state.schedules.byId.get(id)?.revision !== stored?.revision)
            violate(`S2: request ${id} got another answer`);
          finish();
        },
        () => {
          report.unknown++;
          finish();
        },
      );
    } else if (luck < 0.85) {
      const from = history.length;
      replica.execute([{ verb: "listSchedules", page: { limit: 1 } }]).then(
        () => {
          if (process.log === own && replica.position() < from)
            violate(`S5: a read that began after commit ${from} answered from ${replica.position()}`);
          finish();
        },
        () => finish(),
      );
    } else {
      const count = (): number => [...world.objects.keys()].filter((key) => key.startsWith("log/")).length;
      const before = count();
      log
        .deleteOld()
        .then(() => (report.deleted += Math.max(0, before - count())), ignore)
        .then(() => finish());
    }
  };
  /** The store alone always gives back the whole history. */
  const checkStore = (): void => {
    const manifests = [...world.objects.keys()].filter((key) => key.startsWith("checkpoint/")).sort();
    const newest = manifests.at(-1);
    let from = 0;
    if (newest !== undefined) {
      const manifest = JSON.parse(decoder.decode(world.objects.get(newest)?.body)) as {
        position: number;
        parts: { key: string }[];
      };
      from = manifest.position;
      for (const { key } of manifest.parts) if (!world.objects.has(key)) violate(`S2: ${newest} has lost ${key}`);
    }
    for (let position = from + 1; position <= history.length; position++) {
      const kept = world.objects.get(`log/${String(position).padStart(20, "0")}`);
      if (kept === undefined || decoder.decode(kept.body) !== history[position - 1]?.body)
        violate(`S2: commit ${position} is lost; the newest checkpoint is ${from}`);
    }
  };

  for (let index = 0; index < processes.length; index++) start(index);
  const isAwake = (index: number): boolean => world.time >= (processes[index] as Process).asleepUntil;
  for (let step = 0; step < steps && violation === undefined; step++) {
    const luck = random();
    const index = Math.floor(random() * processes.length);
    const process = processes[index] as Process;
    if (luck < 0.006) world.landLate();
    else if (luck < 0.015 && process.alive) {
      report.crashes++;
      process.alive = false;
      void process.replica?.close().catch(() => undefined);
      void process.log?.close();
      process.replica = process.log = undefined;
      world.crash(index);
    } else if (luck < 0.03) {
      report.sleeps++;
      process.asleepUntil = world.time + random() * 6 * graceMs;
    } else if (luck < 0.13) world.time += Math.round(random() * graceMs * (random() < 0.2 ? 1 : 0.1));
    else if (luck < 0.3) {
      if (!process.alive) start(index);
      else if (isAwake(index)) act(index);
    } else if (!world.step(isAwake)) {
      world.time += Math.round(random() * graceMs * 0.05);
      // Only timers are left: they run in real time.
      if (processes.every((each, which) => each.busy || !isAwake(which)))
        await new Promise((resolve) => void setTimeout(resolve, 1));
    }
    if (step % 8 === 0) checkStore();
    await settle();
  }

  // In the end all wake, everything is answered, and a new process finds the whole history.
  if (violation === undefined) {
    for (const process of processes) process.asleepUntil = 0;
    const open = Replica.open(new CommitLog(world.client(99), { deletionGraceMs: graceMs, resendMs: 1 }), {
      resendMs: 1,
      laneLimit,
      checkpointBytes: Number.MAX_SAFE_INTEGER,
    });
    const late = await until(open, world);
    // Only what was acknowledged before the read is sent must be in it; the others go on meanwhile.
    const kept = [...acknowledged];
    await until(late.execute([{ verb: "listSchedules", page: { limit: 1 } }]), world);
    const found = late.view().schedules.byId;
    for (const id of kept) {
      if (found.has(id)) continue;
      violate(
        `S2: acknowledged request ${id} is gone; read ${late.position()} of ${history.length}, applied at ${appliedAt.get(id)}`,
      );
    }
    for (const id of found.keys()) if (!appliedAt.has(id)) violate(`S1: request ${id} came from nowhere`);
    checkStore();
    await until(late.close(), world);
  }
  const closing = processes.map(async ({ replica, log }) => {
    await replica?.close();
    await log?.close();
  });
  await until(Promise.all(closing), world);
  report.commits = history.length;
  if (violation !== undefined) throw violation;
  return report;
}

/** Lets the store answer until a promise is kept. */
async function until<T>(promise: Promise<T>, world: SimulatedWorld): Promise<T> {
  let over = false;
  const done = promise.finally(() => (over = true));
  while (!over) {
    if (!world.step(() => true)) await new Promise((resolve) => void setTimeout(resolve, 1));
    await settle();
  }
  return await done;
}
