// What a waiting reserve needs to know without a command: could something start now, and if not, when next.
import { rateOpensAt, startAllowance } from "./limits.ts";
import type { ReplicaState } from "./state.ts";

/** When a reserve of these queues may first give something, as far as the state knows; `at` if now, `undefined` if only a command can tell. */
export function nextChance(state: ReplicaState, queues: readonly string[], at: number): number | undefined {
  const now = Math.max(state.at, at);
  let chance: number | undefined;
  const consider = (time: number): void => {
    if (chance === undefined || time < chance) chance = time;
  };
  for (const name of queues) {
    const queue = state.queues.get(name);
    if (queue === undefined || queue.paused) continue;
    // A lease that runs out frees a slot of the queue's limit and of its group, whatever becomes of its task.
    const lease = queue.leases.peek();
    if (lease !== undefined) consider(lease.at);
    if (queue.maxActive !== undefined && queue.counts.active >= queue.maxActive) continue;
    const opens = startAllowance(queue, now) > 0 ? now : rateOpensAt(queue, now);
    if (queue.ready.first() !== undefined) consider(opens);
    const due = queue.due.peek();
    if (due !== undefined) consider(Math.max(due.at, opens));
    // A waiting task that expires may free the slot that its group's next one waits for.
    const expiring = queue.expiries.peek();
    if (expiring !== undefined && queue.groups.size > 0) consider(expiring.at);
  }
  return chance === undefined ? undefined : Math.max(chance, now);
}

/** True when a reserve of these queues would change something now: give a lease, or end what is over. */
export function hasWork(state: ReplicaState, queues: readonly string[], at: number): boolean {
  const now = Math.max(state.at, at);
  const chance = nextChance(state, queues, now);
  if (chance !== undefined && chance <= now) return true;
  return queues.some((name) => {
    const queue = state.queues.get(name);
    if (queue === undefined) return false;
    if ((queue.expiries.peek()?.at ?? Number.POSITIVE_INFINITY) <= now) return true;
    if ((queue.leases.peek()?.at ?? Number.POSITIVE_INFINITY) <= now) return true;
    const old = queue.deadLetterTtlMs === undefined ? undefined : queue.deadLetters.peek()?.at;
    return old !== undefined && old <= now - (queue.deadLetterTtlMs as number);
  });
}
