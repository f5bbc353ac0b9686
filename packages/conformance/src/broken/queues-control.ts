// Broken task queues: the reference with one rule of control or conduct broken.
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import type { Dependency, NewTask, RetryState, StoredTask } from "@omniq/core";
import { override } from "./override.ts";
import { type BrokenQueue, storing } from "./queues.ts";

const noDependencies = ({ dependencies: _gone, ...task }: NewTask): NewTask => task;

/** One or more for each rule of control and conduct that a wrapper of one connection can break. */
export const brokenControl: readonly BrokenQueue[] = [
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
    does: "closes when the last wait is over, or five seconds later",
    wreck: (queue) => {
      let waits = 0;
      return override(queue, {
        reserve: async (request, options) => {
          waits += 1;
          return queue.reserve(request, options).finally(() => (waits -= 1));
        },
        close: async () => {
          if (waits > 0) await sleep(5_000);
          await queue.close();
        },
      });
    },
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
  {
    rule: "dependencies",
    does: "retries one task after the other and takes no outcomes",
    wreck: (queue) =>
      override(queue, {
        retry: async (ids, options) => {
          const states: RetryState[] = [];
          for (const id of ids) states.push(...(await queue.retry([id], { signal: options?.signal })));
          return states;
        },
      }),
  },
  {
    rule: "deduplicate",
    does: "lets an expired holder keep its key until that is decided",
    wreck: (queue) => {
      const seen = new Map<string, string>();
      return override(queue, {
        enqueue: async (calls, options) => {
          const [task] = calls[0]?.tasks ?? [];
          const id = task?.deduplicate === undefined ? undefined : seen.get(task.deduplicate.key);
          const [holder] = id === undefined ? [] : await queue.get([id]);
          if (task !== undefined && holder?.expiresAt !== undefined && holder.startedAt === undefined)
            return [{ state: "accepted", receipts: [{ id: holder.id, state: "deduplicated" }] }];
          const answers = await queue.enqueue(calls, options);
          for (const { tasks } of calls)
            for (const one of tasks) if (one.deduplicate !== undefined) seen.set(one.deduplicate.key, one.id);
          return answers;
        },
      });
    },
  },
  { rule: "dependencies", does: "starts dependents at once", wreck: (queue) => storing(queue, noDependencies) },
];
