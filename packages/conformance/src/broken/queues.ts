// Broken task queues: the reference with one rule broken, so that the kit can show that it catches each.
import { OmniQError } from "@omniq/core";
import type { Dependency, EnqueueCall, Lease, NewTask, ReserveRequest, StoredTask, TaskQueue } from "@omniq/core";
import type { Rule } from "../rules.ts";
import { override, type Wreck } from "./override.ts";

/** What a broken queue does wrong, and how. */
export interface BrokenQueue {
  readonly rule: Rule;
  readonly does: string;
  readonly wreck: Wreck<"taskQueue">;
}

/** A queue whose tasks are changed before they are stored. */
function storing(queue: TaskQueue, change: (task: NewTask) => NewTask): TaskQueue {
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

const noDependencies = ({ dependencies: _gone, ...task }: NewTask): NewTask => task;
const accepted = (
  calls: readonly EnqueueCall[],
  id: (task: NewTask) => string,
): Awaited<ReturnType<TaskQueue["enqueue"]>> =>
  calls.map((call) => ({
    state: "accepted",
    receipts: call.tasks.map((task) => ({ id: id(task), state: "enqueued" })),
  }));

/** One for each rule of the task queue that a wrapper of one connection can break. */
export const brokenQueues: readonly BrokenQueue[] = [
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
  {
    rule: "deduplicate",
    does: "forgets keys",
    wreck: (queue) => storing(queue, ({ deduplicate: _key, ...task }) => task),
  },
  {
    rule: "cancel",
    does: "answers and does nothing",
    wreck: (queue) => override(queue, { cancel: async (ids) => ids.map(() => "cancelled") }),
  },
  {
    rule: "cancel-push",
    does: "tells no listener",
    wreck: (queue) => override(queue, { onCancel: () => () => undefined }),
  },
  { rule: "pause", does: "does not pause", wreck: (queue) => override(queue, { pause: async () => undefined }) },
  {
    rule: "inspect",
    does: "counts what is held back or active twice",
    wreck: (queue) =>
      override(queue, {
        counts: async (queues, options) =>
          Object.fromEntries(
            Object.entries(await queue.counts(queues, options)).map(([name, counts]) => [
              name,
              { ...counts, ready: counts.ready + counts.active },
            ]),
          ),
      }),
  },
  {
    rule: "dead-letter",
    does: "says that it retried and does not",
    wreck: (queue) =>
      override(queue, {
        retry: async (ids) =>
          (await queue.get(ids)).map((task: StoredTask | undefined) =>
            task?.state === "failed" ? "retried" : "unknown",
          ),
      }),
  },
  {
    rule: "group-limit",
    does: "forgets groups",
    wreck: (queue) => storing(queue, ({ group: _group, ...task }) => task),
  },
  {
    rule: "queue-limit",
    does: "forgets maxActive",
    wreck: (queue) =>
      override(queue, {
        configureQueue: (name, { maxActive: _gone, ...settings }, options) =>
          queue.configureQueue(name, settings, options),
      }),
  },
  {
    rule: "rate-limit",
    does: "forgets rates",
    wreck: (queue) =>
      override(queue, {
        configureQueue: (name, { rateLimit: _gone, ...settings }, options) =>
          queue.configureQueue(name, settings, options),
      }),
  },
  {
    rule: "dependencies",
    does: "starts dependents after a failure too",
    wreck: (queue) =>
      storing(queue, (task) =>
        task.dependencies === undefined
          ? task
          : {
              ...task,
              dependencies: task.dependencies.map((one: Dependency) => ({ ...one, onFailure: "run" })),
            },
      ),
  },
  {
    rule: "transactional",
    does: "takes no notice of a transaction that it can not join",
    wreck: (queue) =>
      override(queue, { enqueue: (calls, options) => queue.enqueue(calls, { signal: options?.signal }) }),
  },
  {
    rule: "outcome-recorded",
    does: "shows no outcomes of its own",
    wreck: (queue) => override(queue, { unrecorded: async () => [] }),
  },
  {
    rule: "hostile-input",
    does: "normalizes text",
    wreck: (queue) =>
      storing(queue, (task) => ({
        ...task,
        payload: task.payload.normalize("NFC").trim(),
        queue: task.queue.normalize("NFC"),
      })),
  },
  {
    rule: "close",
    does: "goes on after it was closed",
    wreck: (queue, backend) => {
      const late = new OmniQError("OMNIQ_BACKEND_FAILED", `the connection of ${backend.type} is gone`);
      const closed = <T>(call: Promise<T>): Promise<T> =>
        call.catch((error: { code?: string }) => {
          throw error.code === "OMNIQ_CLOSED" ? late : error;
        });
      return override(queue, {
        get: (ids, options) => closed(queue.get(ids, options)),
        counts: (queues, options) => closed(queue.counts(queues, options)),
      });
    },
  },
  { rule: "dependencies", does: "starts dependents at once", wreck: (queue) => storing(queue, noDependencies) },
];
