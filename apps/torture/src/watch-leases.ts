// Notes every lease that a process is given, every heartbeat and settlement that it sends, and calls that take long, by standing between core and
// the task queue.
import type { Lease, ReserveRequest, Settlement, SettleState, TaskQueue } from "@omniq/core";
import { timed } from "./calls.ts";
import { hostMs, hostMsOf } from "./host-time.ts";
import { journal } from "./journal.ts";

let calls = 0;
/** The run of each task that this process leased last. */
const runs = new Map<string, number>();

/** Which run of its task a handler executes. */
export function runOf(task: string): number {
  return runs.get(task) ?? 1;
}

function given(leases: readonly Lease[], { leaseMs }: ReserveRequest): void {
  const at = hostMs();
  const call = ++calls;
  for (const [index, { taskId, token, run, attempt, deadline, sentAt, queue, task }] of leases.entries()) {
    runs.set(taskId, run);
    journal({
      kind: "lease",
      task: taskId,
      token,
      run,
      attempt,
      expiries: task.expiries,
      queue,
      priority: task.priority,
      plain: task.group === undefined && (task.dependencies?.length ?? 0) === 0 && task.runAt <= task.enqueuedAt,
      group: task.group?.key,
      // By the store's clock, like the deadline.
      from: deadline - leaseMs,
      deadline,
      runAt: task.runAt,
      sent: hostMsOf(sentAt),
      at,
      call,
      index,
    });
  }
}
/** How long every second release puts its task off, as a worker does that does not know its name. */
const putOffMs = 300;

/** Says so for each token alike, as the same settlement may be sent again. */
function putOff(settlements: readonly Settlement[]): readonly Settlement[] {
  return settlements.map((one) =>
    one.outcome === "release" && one.delayMs === undefined && one.token.charCodeAt(one.token.length - 1) % 2 === 0
      ? { ...one, delayMs: putOffMs }
      : one,
  );
}

/** Before it is sent: whatever becomes of the answer, from now on the lease may be over. */
function ending(settlements: readonly Settlement[]): void {
  const at = hostMs();
  for (const one of settlements) {
    const { taskId, token, outcome } = one;
    const late = one.outcome === "release" && one.delayMs !== undefined ? { at, delayMs: one.delayMs } : {};
    journal({ kind: "settle", task: taskId, token, outcome, ...late });
  }
}
function ended(settlements: readonly Settlement[], states: readonly SettleState[]): void {
  for (const [index, { taskId, token, run, outcome }] of settlements.entries())
    if (states[index] === "settled") journal({ kind: "settled", task: taskId, token, run, outcome });
}

/** Changes the verbs of this component in place, so that core still sees the component of its backend. */
export function watchLeases(queue: TaskQueue): void {
  const reserve = queue.reserve.bind(queue);
  const extend = queue.extend.bind(queue);
  const settle = queue.settle.bind(queue);
  const enqueue = queue.enqueue.bind(queue);
  const both = queue.settleAndReserve?.bind(queue);
  queue.reserve = async (request, options) => {
    const onLeases = (leases: readonly Lease[]): void => {
      given(leases, request);
      options?.onLeases?.(leases);
    };
    const leases = await reserve(request, options?.onLeases === undefined ? options : { ...options, onLeases });
    given(leases, request);
    return leases;
  };
  queue.extend = async (leases, leaseMs, options) => {
    const sent = hostMs();
    const states = await extend(leases, leaseMs, options);
    for (const [index, { taskId, token }] of leases.entries()) {
      const answer = states[index];
      if (answer !== undefined && answer.state !== "lost")
        journal({ kind: "extended", task: taskId, token, sent, deadline: answer.deadline });
    }
    return states;
  };
  queue.enqueue = (given, options) => timed("enqueue", () => enqueue(given, options));
  queue.settle = async (asked, options) => {
    const settlements = putOff(asked);
    ending(settlements);
    const states = await timed("settle", () => settle(settlements, options));
    ended(settlements, states);
    return states;
  };
  if (both !== undefined)
    queue.settleAndReserve = async (asked, request, options) => {
      const settlements = putOff(asked);
      ending(settlements);
      const answer = await timed("settleAndReserve", () => both(settlements, request, options));
      ended(settlements, answer.states);
      given(answer.leases, request);
      return answer;
    };
}
