// The history checker: given the calls and answers of many processes, decides whether every rule held.
//
// A call takes effect at some time between its sending and its answer. So what is *certain* is used and nothing else: a lease is
// certainly held from its answer until the earliest time at which it can have ended. A violation is one whatever the order inside the
// calls was; a history without violations may still be a lucky one.
import type { HistoryRecord, RecordedLease, RecordedTask, Violation } from "./history.ts";

type Of<Verb extends HistoryRecord["verb"]> = Extract<HistoryRecord, { verb: Verb }>;

/** A lease with the interval in which it is certainly held. */
interface Held extends RecordedLease {
  readonly process: string;
  readonly reserveSentAt: number;
  readonly from: number;
  until: number;
  /** The settlement that was, or may have been, taken. */
  ending?: Of<"settle"> | undefined;
}

/** Settlements after which the queue knows the task of this run no more, or only as a dead letter. */
const terminal: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"]);
/** How far the clocks of the store and of the processes may be apart in the checks against `runAt`. */
const clockSlackMs = 50;

export interface CheckOptions {
  /** `maxActive` of queues that had it all the time. */
  readonly maxActive?: Readonly<Record<string, number>> | undefined;
  /** Clocks may be apart this much (default 50 ms). */
  readonly slackMs?: number | undefined;
}

/** Every violation that the history proves; none when every rule may have held. */
export function checkHistory(records: readonly HistoryRecord[], options: CheckOptions = {}): Violation[] {
  const violations: Violation[] = [];
  const add = (rule: string, message: string): void => {
    violations.push({ rule, message });
  };
  const of = <Verb extends HistoryRecord["verb"]>(verb: Verb): Of<Verb>[] =>
    records.filter((record): record is Of<Verb> => record.verb === verb);
  const tasks = checkEnqueues(of("enqueue"), add);
  const held = heldLeases(of("reserve"), of("extend"), of("settle"));
  const byTask = groupBy(held, (lease) => lease.taskId);
  checkExclusion(byTask, add);
  checkFences(held, of("settle"), of("extend"), of("retry"), add);
  checkAttempts(byTask, add);
  checkStarts(tasks, held, options.slackMs ?? clockSlackMs, add);
  checkSlots(tasks, held, options.maxActive ?? {}, add);
  checkPauses(of("pause"), of("resume"), of("reserve"), add);
  checkOrder(tasks, of("reserve"), held, of("enqueue"), records, add);
  checkResults(of("put"), add);
  checkLoss(tasks, of("enqueue"), byTask, of("remaining"), records, add);
  return violations;
}

/** `Map.groupBy`, which Node 20 lacks. */
function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

type Add = (rule: string, message: string) => void;

function checkEnqueues(enqueues: readonly Of<"enqueue">[], add: Add): Map<string, RecordedTask> {
  const tasks = new Map<string, RecordedTask>();
  const stored = new Set<string>();
  for (const { task, receipt } of enqueues) {
    tasks.set(task.id, tasks.get(task.id) ?? task);
    if (receipt !== "enqueued") continue;
    if (stored.has(task.id))
      add("enqueue-idempotent", `${task.id} was enqueued twice, and both receipts say "enqueued"`);
    stored.add(task.id);
  }
  return tasks;
}

function heldLeases(
  reserves: readonly Of<"reserve">[],
  extensions: readonly Of<"extend">[],
  settlements: readonly Of<"settle">[],
): Held[] {
  return reserves.flatMap((reserve) =>
    reserve.leases.map((lease) => {
      // A long wait precedes the claim, so only the answer bounds it from above; the deadline counts from the claim, which may be early.
      const held: Held = {
        ...lease,
        process: reserve.process,
        reserveSentAt: reserve.sentAt,
        from: reserve.answeredAt,
        until: reserve.sentAt + reserve.leaseMs,
      };
      for (const extension of extensions) {
        if (extension.token === lease.token && extension.taskId === lease.taskId && extension.state !== "lost") {
          held.until = Math.max(held.until, extension.sentAt + extension.leaseMs);
        }
      }
      const own = settlements.filter(
        (settlement) =>
          settlement.token === lease.token && settlement.taskId === lease.taskId && settlement.state !== "lost",
      );
      for (const settlement of own) {
        held.until = Math.min(held.until, settlement.sentAt);
        if (held.ending === undefined || settlement.sentAt < held.ending.sentAt) held.ending = settlement;
      }
      return held;
    }),
  );
}

function checkExclusion(byTask: ReadonlyMap<string, readonly Held[]>, add: Add): void {
  for (const [taskId, leases] of byTask) {
    const sorted = [...leases].sort((a, b) => a.from - b.from);
    for (const [i, a] of sorted.entries()) {
      for (const b of sorted.slice(i + 1)) {
        if (a.token === b.token)
          add("lease-excludes", `${taskId} was handed out twice with one token, to ${a.process} and ${b.process}`);
        else if (Math.max(a.from, b.from) < Math.min(a.until, b.until))
          add("lease-excludes", `${taskId} was held by ${a.process} and ${b.process} at the same time`);
      }
    }
  }
}

function checkFences(
  held: readonly Held[],
  settlements: readonly Of<"settle">[],
  extensions: readonly Of<"extend">[],
  retries: readonly Of<"retry">[],
  add: Add,
): void {
  const byToken = new Map(held.map((lease) => [`${lease.taskId}\0${lease.token}`, lease]));
  const ended = new Map<string, string>();
  for (const settlement of settlements) {
    const { taskId, token, run, outcome, state } = settlement;
    const lease = byToken.get(`${taskId}\0${token}`);
    if (state === "settled") {
      if (lease === undefined) add("settle-fenced", `${taskId} was settled with a token that no lease had`);
      if (!terminal.has(outcome)) continue;
      const other = ended.get(`${taskId}\0${run}`);
      if (other !== undefined && other !== token)
        add("settle-fenced", `run ${run} of ${taskId} was ended by two leases`);
      ended.set(`${taskId}\0${run}`, token);
      for (const later of held) {
        if (
          later.taskId === taskId &&
          later.run <= run &&
          later.token !== token &&
          later.reserveSentAt > settlement.answeredAt
        ) {
          add("settle-fenced", `${taskId} was handed out in run ${later.run} after its run ${run} had ended`);
        }
      }
    } else if (state === "lost" && lease !== undefined) {
      const deadline = lease.ending === undefined ? lease.until : Math.min(lease.until, lease.ending.sentAt);
      const undisturbed = lease.ending === undefined || lease.ending.sentAt >= settlement.answeredAt;
      if (settlement.answeredAt < deadline && undisturbed)
        add("settle-fenced", `${taskId} was held, but its settlement was answered "lost"`);
    }
  }
  for (const extension of extensions) {
    const lease = byToken.get(`${extension.taskId}\0${extension.token}`);
    if (extension.state !== "lost") {
      if (lease === undefined) add("settle-fenced", `${extension.taskId} was extended with a token that no lease had`);
      const { ending } = lease ?? {};
      if (ending?.state === "settled" && extension.sentAt > ending.answeredAt)
        add("settle-fenced", `${extension.taskId} was extended after it was settled`);
    } else if (lease !== undefined && extension.answeredAt < lease.until && extension.sentAt >= lease.from) {
      add("settle-fenced", `${extension.taskId} was held, but its extension was answered "lost"`);
    }
  }
  for (const lease of held) {
    const retried = retries.filter(
      (retry) => retry.taskId === lease.taskId && retry.state === "retried" && retry.sentAt <= lease.from,
    ).length;
    if (lease.run > retried + 1)
      add("dead-letter", `${lease.taskId} was handed out in run ${lease.run}, but was retried ${retried} times`);
  }
}

function checkAttempts(byTask: ReadonlyMap<string, readonly Held[]>, add: Add): void {
  for (const [taskId, leases] of byTask) {
    const sorted = [...leases].sort((a, b) => a.from - b.from);
    for (const [i, lease] of sorted.entries()) {
      const before = sorted[i - 1];
      if (before === undefined || before.run !== lease.run) {
        // A lease whose process died before it was recorded leaves no trace; it is refunded, so the first one seen is still attempt 1.
        if (lease.attempt !== 1)
          add("release-refunds", `the first lease of run ${lease.run} of ${taskId} was attempt ${lease.attempt}`);
        continue;
      }
      if (before.ending?.state === "lost-answer") continue;
      const expected = before.ending?.outcome === "retry" ? before.attempt + 1 : before.attempt;
      const rule = before.ending === undefined ? "lease-expiry-redelivers" : "release-refunds";
      if (lease.attempt !== expected) {
        add(
          rule,
          `${taskId} was attempt ${before.attempt}, ended by ${before.ending?.outcome ?? "expiry"}, and then attempt ${lease.attempt}`,
        );
      }
    }
  }
}

function checkStarts(tasks: ReadonlyMap<string, RecordedTask>, held: readonly Held[], slackMs: number, add: Add): void {
  const completed = new Map<string, number>();
  for (const lease of held) {
    if (lease.ending?.outcome === "completed")
      completed.set(lease.taskId, Math.min(completed.get(lease.taskId) ?? Infinity, lease.ending.sentAt));
  }
  for (const lease of held) {
    const task = tasks.get(lease.taskId);
    if (task === undefined) {
      add("enqueue-atomic", `${lease.taskId} was handed out, but nobody enqueued it`);
      continue;
    }
    if (task.queue !== lease.queue)
      add("order", `${lease.taskId} of queue ${task.queue} was handed out from queue ${lease.queue}`);
    if (task.runAt !== undefined && lease.from < task.runAt - slackMs) {
      add(
        "no-early-delivery",
        `${lease.taskId} was handed out ${Math.round(task.runAt - lease.from)} ms before it was due`,
      );
    }
    for (const dependency of task.dependencies ?? []) {
      if (dependency.onFailure === "run" || dependency.outcome !== undefined || !tasks.has(dependency.taskId)) continue;
      if ((completed.get(dependency.taskId) ?? Infinity) > lease.from)
        add("dependencies", `${lease.taskId} was handed out before ${dependency.taskId} had completed`);
    }
  }
}

/** The most leases that are certainly held at one time. */
function overlap(leases: readonly Held[]): number {
  const steps = leases
    .filter((lease) => lease.until > lease.from)
    .flatMap((lease) => [[lease.from, 1] as const, [lease.until, -1] as const]);
  let now = 0;
  let most = 0;
  for (const [, step] of steps.sort((a, b) => a[0] - b[0] || a[1] - b[1])) most = Math.max(most, (now += step));
  return most;
}

function checkSlots(
  tasks: ReadonlyMap<string, RecordedTask>,
  held: readonly Held[],
  maxActive: Readonly<Record<string, number>>,
  add: Add,
): void {
  const groups = groupBy(
    held.filter((lease) => tasks.get(lease.taskId)?.group !== undefined),
    (lease) => `${lease.queue}\0${tasks.get(lease.taskId)?.group?.key}`,
  );
  for (const [key, leases] of groups) {
    const limit = Math.max(...leases.map((lease) => tasks.get(lease.taskId)?.group?.limit ?? 1));
    const most = overlap(leases);
    if (most > limit)
      add(
        "group-limit",
        `${most} tasks of group ${key.replace("\0", " / ")} were active at once, its limit is ${limit}`,
      );
  }
  for (const [queue, limit] of Object.entries(maxActive)) {
    const most = overlap(held.filter((lease) => lease.queue === queue));
    if (most > limit) add("queue-limit", `${most} tasks of queue ${queue} were active at once, its limit is ${limit}`);
  }
}

function checkPauses(
  pauses: readonly Of<"pause">[],
  resumes: readonly Of<"resume">[],
  reserves: readonly Of<"reserve">[],
  add: Add,
): void {
  for (const pause of pauses) {
    const end = Math.min(
      ...resumes
        .filter((resume) => resume.queue === pause.queue && resume.answeredAt > pause.sentAt)
        .map((resume) => resume.sentAt),
      Infinity,
    );
    for (const reserve of reserves) {
      if (reserve.sentAt <= pause.answeredAt || reserve.answeredAt >= end) continue;
      if (reserve.leases.some((lease) => lease.queue === pause.queue))
        add("pause", `queue ${pause.queue} handed out a task while it was paused`);
    }
  }
}

/** A reserve that took a task and left one of higher priority behind that was certainly ready all the while. */
function checkOrder(
  tasks: ReadonlyMap<string, RecordedTask>,
  reserves: readonly Of<"reserve">[],
  held: readonly Held[],
  enqueues: readonly Of<"enqueue">[],
  records: readonly HistoryRecord[],
  add: Add,
): void {
  const touched = new Set(
    records.flatMap((record) =>
      record.verb === "cancel" || record.verb === "remove" || record.verb === "retry" ? [record.taskId] : [],
    ),
  );
  const plain = enqueues.filter(
    ({ task, receipt }) =>
      receipt === "enqueued" &&
      task.group === undefined &&
      task.runAt === undefined &&
      task.dependencies === undefined &&
      !touched.has(task.id),
  );
  const firstSeen = new Map<string, number>();
  for (const lease of held)
    firstSeen.set(lease.taskId, Math.min(firstSeen.get(lease.taskId) ?? Infinity, lease.reserveSentAt));
  for (const reserve of reserves) {
    for (const lease of reserve.leases) {
      const lowest = tasks.get(lease.taskId);
      if (lowest === undefined) continue;
      const better = plain.find(
        ({ task, answeredAt }) =>
          task.queue === lease.queue &&
          (task.priority ?? 0) > (lowest.priority ?? 0) &&
          answeredAt < reserve.sentAt &&
          (firstSeen.get(task.id) ?? -Infinity) > reserve.answeredAt,
      );
      if (better !== undefined)
        add(
          "order",
          `${lease.taskId} was handed out while ${better.task.id}, of higher priority, was ready and stayed behind`,
        );
    }
  }
}

function checkResults(puts: readonly Of<"put">[], add: Add): void {
  const stands = new Map<string, string | undefined>();
  for (const { result, stands: stood } of puts) {
    if (stood.run < result.run)
      add("result-first-wins", `run ${stood.run} of ${result.taskId} stood against run ${result.run}`);
    const key = `${result.taskId}\0${stood.run}`;
    if (stands.has(key) && stands.get(key) !== stood.value)
      add("result-first-wins", `two different results of run ${stood.run} of ${result.taskId} were said to stand`);
    stands.set(key, stood.value);
  }
}

function checkLoss(
  tasks: ReadonlyMap<string, RecordedTask>,
  enqueues: readonly Of<"enqueue">[],
  byTask: ReadonlyMap<string, readonly Held[]>,
  ends: readonly Of<"remaining">[],
  records: readonly HistoryRecord[],
  add: Add,
): void {
  const end = ends.at(-1);
  if (end === undefined) return;
  const remaining = new Set(end.taskIds);
  const gone = new Set(
    records.flatMap((record) => (record.verb === "cancel" || record.verb === "remove" ? [record.taskId] : [])),
  );
  for (const { task, receipt } of enqueues) {
    if (receipt !== "enqueued" || remaining.has(task.id) || gone.has(task.id)) continue;
    const leases = byTask.get(task.id) ?? [];
    if (!leases.some((lease) => lease.ending !== undefined && terminal.has(lease.ending.outcome))) {
      add("enqueue-durable", `${task.id} was acknowledged, but it is neither there nor did anyone end it`);
    }
  }
  for (const id of remaining) if (!tasks.has(id)) add("enqueue-atomic", `${id} is there, but nobody enqueued it`);
  for (const [taskId, leases] of byTask) {
    const completed = leases.some((lease) => lease.ending?.outcome === "completed" && lease.ending.state === "settled");
    if (completed && remaining.has(taskId)) add("settle-fenced", `${taskId} was completed, but it is still there`);
  }
}
