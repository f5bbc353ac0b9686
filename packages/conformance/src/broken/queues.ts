// Broken task queues: the reference with one rule of delivery broken, so that the kit can show that it catches each.
import type { EnqueueCall, Lease, NewTask, ReserveRequest, TaskQueue } from "@omniq/core";
import type { Rule } from "../rules.ts";
import { override, type Wreck } from "./override.ts";

/** What a broken queue does wrong, and how. */
export interface BrokenQueue {
  readonly rule: Rule;
  readonly does: string;
  readonly wreck: Wreck<"taskQueue">;
}

/** A queue whose tasks are changed before they are stored. */
export function storing(queue: TaskQueue, change: (task: NewTask) => NewTask): TaskQueue {
  return override(queue, {
    enqueue: (calls, options) =>
      queue.enqueue(
        calls.map((call) => ({ ...call, tasks: call.tasks.map(change) })),
        options,
      ),
  });
}

/** A queue whose leases are changed before they are given; what is not given is lost to everybody. */
function giving(
  queue: TaskQueue,
  change: (leases: readonly Lease[], request: ReserveRequest) => readonly Lease[],
): TaskQueue {
  return override(queue, {
    reserve: async (request, options) => change(await queue.reserve(request, options), request),
  });
}

const accepted = (
  calls: readonly EnqueueCall[],
  id: (task: NewTask) => string,
): Awaited<ReturnType<TaskQueue["enqueue"]>> =>
  calls.map((call) => ({
    state: "accepted",
    receipts: call.tasks.map((task) => ({ id: id(task), state: "enqueued" })),
  }));

/** One or more for each rule of delivery that a wrapper of one connection can break. */
export const brokenDelivery: readonly BrokenQueue[] = [
  {
    rule: "enqueue-idempotent",
    does: "makes a new id for every task",
    wreck: (queue) => {
      let made = 0;
      return override(queue, {
        enqueue: async (calls, options) => {
          await queue.enqueue(
            calls.map((call) => ({
              ...call,
              tasks: call.tasks.map((task) => ({ ...task, id: `${task.id}~${(made += 1)}` })),
            })),
            options,
          );
          return accepted(calls, (task) => task.id);
        },
      });
    },
  },
  {
    rule: "enqueue-idempotent",
    does: "removes tasks and keeps their ids",
    wreck: (queue) => {
      const kept = new Set<string>();
      return override(queue, {
        remove: async (ids, options) => {
          for (const id of ids) kept.add(id);
          return queue.remove(ids, options);
        },
        enqueue: async (calls, options) =>
          calls.some((call) => call.tasks.some((task) => kept.has(task.id)))
            ? calls.map((call) => ({
                state: "accepted",
                receipts: call.tasks.map((task) => ({ id: task.id, state: "duplicate" })),
              }))
            : queue.enqueue(calls, options),
      });
    },
  },
  {
    rule: "enqueue-atomic",
    does: "stores the tasks of a call one by one, as far as it gets",
    wreck: (queue) =>
      override(queue, {
        enqueue: async (calls, options) => {
          const answers = [];
          for (const call of calls) {
            const receipts = [];
            const unknown = [];
            for (const task of call.tasks) {
              const [answer] = await queue.enqueue([{ tasks: [task] }], options);
              if (answer?.state === "accepted") receipts.push(...answer.receipts);
              else unknown.push(...(answer?.taskIds ?? []));
            }
            answers.push(
              unknown.length === 0
                ? ({ state: "accepted", receipts } as const)
                : ({ state: "unknown-dependencies", taskIds: unknown } as const),
            );
          }
          return answers;
        },
      }),
  },
  {
    rule: "calls-isolated",
    does: "refuses all calls of a batch when one is refused",
    wreck: (queue) =>
      override(queue, {
        enqueue: async (calls, options) => {
          for (const call of calls) {
            const [answer] = await queue.enqueue([call], options);
            if (answer?.state === "unknown-dependencies") return calls.map(() => answer);
          }
          return queue.enqueue(calls, options);
        },
      }),
  },
  {
    rule: "lease-excludes",
    does: "gives a task that is leased already to a second consumer",
    wreck: (queue) => {
      const given = new Map<string, Lease>();
      return override(queue, {
        reserve: async (request, options) => {
          const leases = await queue.reserve(request, options);
          for (const lease of leases) given.set(lease.queue, lease);
          const again = request.queues.map((name) => given.get(name)).find((lease) => lease !== undefined);
          return leases.length === 0 && again !== undefined ? [again] : leases;
        },
      });
    },
  },
  {
    rule: "lease-expiry-redelivers",
    does: "leases for ever",
    wreck: (queue) =>
      override(queue, {
        reserve: (request, options) => queue.reserve({ ...request, leaseMs: 1e12 }, options),
        extend: (leases, _leaseMs, options) => queue.extend(leases, 1e12, options),
      }),
  },
  {
    rule: "settle-fenced",
    does: "takes any token",
    wreck: (queue) => {
      const current = new Map<string, string>();
      return override(queue, {
        reserve: async (request, options) => {
          const leases = await queue.reserve(request, options);
          for (const lease of leases) current.set(lease.taskId, lease.token);
          return leases;
        },
        settle: (settlements, options) =>
          queue.settle(
            settlements.map((one) => ({ ...one, token: current.get(one.taskId) ?? one.token })),
            options,
          ),
      });
    },
  },
  {
    rule: "no-early-delivery",
    does: "forgets delays and times",
    wreck: (queue) => storing(queue, ({ delayMs: _delay, runAt: _time, ...task }) => task),
  },
  {
    rule: "no-late-delivery",
    does: "forgets when a task expires",
    wreck: (queue) => storing(queue, ({ expiresAt: _at, expiresInMs: _in, ...task }) => task),
  },
  {
    rule: "order",
    does: "gives the last task of a batch first",
    wreck: (queue) => giving(queue, (leases) => [...leases].reverse()),
  },
  {
    rule: "release-refunds",
    does: "takes a release for a retry",
    wreck: (queue) =>
      override(queue, {
        settle: (settlements, options) =>
          queue.settle(
            settlements.map((one) => {
              if (one.outcome !== "release") return one;
              const { taskId, queue: name, token, run, attempt } = one;
              return { taskId, queue: name, token, run, attempt, outcome: "retry", delayMs: 0, error: "{}" };
            }),
            options,
          ),
      }),
  },
  {
    rule: "snooze",
    does: "takes no notice of a release's delay",
    wreck: (queue) =>
      override(queue, {
        settle: (settlements, options) =>
          queue.settle(
            settlements.map((one) => (one.outcome === "release" ? { ...one, delayMs: undefined } : one)),
            options,
          ),
      }),
  },
  {
    rule: "bounded-bytes",
    does: "forgets maxBytes",
    wreck: (queue) =>
      override(queue, {
        reserve: ({ maxBytes: _bound, ...request }, options) => queue.reserve(request, options),
      }),
  },
  {
    rule: "wake-up",
    does: "looks once and sleeps for all of waitMs",
    wreck: (queue) =>
      override(queue, {
        reserve: async (request, options) => {
          const leases = await queue.reserve({ ...request, waitMs: 0 }, options);
          if (leases.length > 0 || request.waitMs === 0) return leases;
          await queue.reserve({ ...request, queues: ["nothing comes here"] }, options);
          return queue.reserve({ ...request, waitMs: 0 }, options);
        },
      }),
  },
  {
    rule: "self-upkeep",
    does: "gives only what get showed as ready before it was asked",
    wreck: (queue) =>
      override(queue, {
        reserve: async (request, options) => {
          const counts = await queue.counts(request.queues);
          const queues = request.queues.filter((name) => (counts[name]?.ready ?? 0) > 0);
          return queues.length === 0 ? [] : queue.reserve({ ...request, queues, waitMs: 0 }, options);
        },
      }),
  },
];
