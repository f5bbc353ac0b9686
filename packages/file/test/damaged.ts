// What the tests of damage share: a log with tasks and checkpoints, copies of it, and what a process makes of one.
import { OmniQError, type BackendReport, type NewTask } from "@omniq/core";
import { CommitLog, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { Replica } from "@omniq/replica";

export const task = (id: string, payload = "p"): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload,
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 60_000,
});
const event = { at: 1, type: "started", taskName: "n", queue: "q", run: 1, attempt: 1, data: "{}" } as const;
export const logKey = (position: number): string => `log/${String(position).padStart(20, "0")}`;

export interface Process {
  readonly replica: Replica;
  readonly reports: BackendReport[];
  close(): Promise<void>;
}
export async function open(objects: MemoryObjects, checkpointBytes = 1e9): Promise<Process> {
  const reports: BackendReport[] = [];
  const report = (level: BackendReport["level"], message: string, fields: BackendReport["fields"]): void =>
    void reports.push({ level, message, fields });
  const log = new CommitLog(new MemoryObjectStore(objects), { pollMs: { busy: 5, idle: 20 }, resendMs: 1, report });
  try {
    const replica = await Replica.open(log, { resendMs: 1, checkpointBytes, report });
    const close = async (): Promise<void> => {
      await replica.close();
      await log.close();
    };
    return { replica, reports, close };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** A log in which commit `n` enqueues the task `t<n>` and stores an event; with checkpoints where they are small. */
export async function fill(count: number, checkpointBytes?: number): Promise<MemoryObjects> {
  const objects = new MemoryObjects();
  const process = await open(objects, checkpointBytes);
  for (let n = 1; n <= count; n++) {
    await process.replica.execute([
      { verb: "enqueue", calls: [{ tasks: [task(`t${n}`, `payload ${n}`)] }] },
      { verb: "appendEvents", events: [{ ...event, id: `e${n}`, taskId: `t${n}` }] },
    ]);
  }
  await process.close();
  return objects;
}
export function copyOf(objects: MemoryObjects): MemoryObjects {
  const copy = new MemoryObjects();
  for (const key of objects.keys()) copy.write(key, (objects.get(key) as { body: Uint8Array }).body);
  return copy;
}

/** Runs all that is there, and answers with what was done. */
export async function drain({ replica }: Process): Promise<string[]> {
  const done: string[] = [];
  for (;;) {
    const [leases] = await replica.execute([
      { verb: "reserve", queues: ["q"], limit: 100, leaseMs: 60_000, worker: "w" },
    ]);
    if (leases.length === 0) return done.sort();
    const settlements = leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: true }) as const);
    const [states] = await replica.execute([{ verb: "settle", settlements }]);
    for (const [index, state] of states.entries()) if (state === "settled") done.push(leases[index]?.taskId ?? "");
  }
}

export async function refusal(work: Promise<unknown>): Promise<OmniQError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof OmniQError) return error;
  throw new Error(`not refused: ${String(error)}`);
}
