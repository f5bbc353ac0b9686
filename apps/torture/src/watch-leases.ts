// Notes every lease that a process is given, every settlement that it sends, and calls that take long, by standing between core and the task queue.
import type { Lease, LeaseReference, ReserveRequest, TaskQueue } from "@omniq/core";
import { timed } from "./calls.ts";
import { journal } from "./journal.ts";

function given(leases: readonly Lease[], { leaseMs }: ReserveRequest): void {
  for (const { taskId, token, deadline, task } of leases)
    journal({
      kind: "lease",
      task: taskId,
      token,
      // By the store's clock, like the deadline.
      from: deadline - leaseMs,
      deadline,
      expiries: task.expiries,
      group: task.group?.key,
    });
}
/** Before it is sent: whatever becomes of the answer, from now on the lease may be over. */
function ending(settlements: readonly LeaseReference[]): void {
  for (const { taskId, token } of settlements) journal({ kind: "settle", task: taskId, token });
}

/** Changes the verbs of this component in place, so that core still sees the component of its backend. */
export function watchLeases(queue: TaskQueue): void {
  const reserve = queue.reserve.bind(queue);
  const settle = queue.settle.bind(queue);
  const enqueue = queue.enqueue.bind(queue);
  const both = queue.settleAndReserve?.bind(queue);
  queue.reserve = async (request, options) => {
    const leases = await reserve(request, options);
    given(leases, request);
    return leases;
  };
  queue.enqueue = (calls, options) => timed("enqueue", () => enqueue(calls, options));
  queue.settle = (settlements, options) => {
    ending(settlements);
    return timed("settle", () => settle(settlements, options));
  };
  if (both !== undefined)
    queue.settleAndReserve = async (settlements, request, options) => {
      ending(settlements);
      const answer = await timed("settleAndReserve", () => both(settlements, request, options));
      given(answer.leases, request);
      return answer;
    };
}
