// The reference backend for the broken queues: with a clock to move, and with what memory lacks played on top of it.
import { memory } from "@omniq/memory";
import { OmniQError } from "@omniq/core";
import type { EnqueueCall, TaskQueue } from "@omniq/core";
import type { AnyBackend } from "../suite.ts";
import type { WorldOptions } from "../world.ts";
import { breakComponent, override } from "./override.ts";

/** Memory as its own test has it: one state for each namespace. */
export function referenceOptions(): WorldOptions {
  let now = Date.now();
  const clock = {
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
  return {
    adapter: (options: Parameters<typeof memory>[0]) => memory(options),
    options: (name) => ({ name, now: clock.now }),
    clock,
  };
}

/** The reference with something done to every backend that is made. */
export function changed(options: WorldOptions, change: (backend: AnyBackend) => AnyBackend): WorldOptions {
  const { adapter } = options;
  return { ...options, adapter: (given) => change(adapter(given)) };
}

/** Memory that says that it is durable. `keeps`: it really is; else a reopened namespace is empty. */
export function durableOptions(keeps: boolean): WorldOptions {
  const options = referenceOptions();
  // What is held open keeps a namespace's state; another name for the same namespace loses it.
  const held = new Map<string, AnyBackend>();
  const generations = new Map<string, number>();
  const named = (namespace: string): unknown => options.options(`${namespace}_${generations.get(namespace) ?? 0}`);
  const durable = changed({ ...options, options: named }, (backend) =>
    breakComponent(backend, "taskQueue", (queue) =>
      override(queue, { capabilities: { ...queue.capabilities, durable: true } }),
    ),
  );
  return {
    ...durable,
    adapter: (given: { name: string }) => {
      if (!held.has(given.name)) held.set(given.name, options.adapter(given as never));
      return durable.adapter(given as never);
    },
    reopen: async (namespace) => {
      if (!keeps) generations.set(namespace, (generations.get(namespace) ?? 0) + 1);
    },
    cleanUp: async (namespace) => {
      for (const [name, backend] of held) {
        if (!name.startsWith(namespace)) continue;
        held.delete(name);
        await backend.close();
      }
    },
  };
}

/** What stands for a transaction of the user's here: the calls that wait for the commit. */
interface Waiting {
  readonly calls: EnqueueCall[];
  queue: TaskQueue | undefined;
}

/** Memory with transactions: what is enqueued in one waits for the commit. `rollsBack`: what waited is dropped, as it must be. */
export function transactionalOptions(rollsBack: boolean): WorldOptions {
  const options = changed(referenceOptions(), (backend) =>
    breakComponent(backend, "taskQueue", (queue) =>
      override(queue, {
        capabilities: { ...queue.capabilities, transactions: "async" },
        enqueue: async (calls, given) => {
          const waiting = given?.transaction as Waiting | undefined;
          if (waiting === undefined) return queue.enqueue(calls, given);
          waiting.calls.push(...calls);
          waiting.queue = queue;
          const known = await queue.get(calls.flatMap((call) => call.tasks.map((task) => task.id)));
          let index = 0;
          return calls.map((call) => ({
            state: "accepted",
            receipts: call.tasks.map((task) => ({
              id: task.id,
              state: known[index++] === undefined ? "enqueued" : "duplicate",
            })),
          }));
        },
      }),
    ),
  );
  return {
    ...options,
    transaction: async (_namespace, body) => {
      const waiting: Waiting = { calls: [], queue: undefined };
      const commit = async (): Promise<void> => void (await waiting.queue?.enqueue(waiting.calls));
      try {
        const answer = await body(waiting);
        await commit();
        return answer;
      } catch (error) {
        if (!rollsBack) await commit();
        throw error;
      }
    },
  };
}

/** Verbs that change nothing, and `reserve`, whose leases would be lost with its answer. */
const answered: ReadonlySet<PropertyKey> = new Set([
  ...["get", "list", "counts", "unrecorded", "wait", "query", "due", "tail", "reserve", "close"],
]);

/**
 * Memory behind a connection that can be cut. `code` is what a call during the outage rejects with; of the writes every second one takes
 * effect all the same, and rejects with `OMNIQ_OUTCOME_UNKNOWN`.
 */
export function outageOptions(code: "OMNIQ_BACKEND_UNAVAILABLE" | "OMNIQ_BACKEND_FAILED"): WorldOptions {
  let [away, writes] = [false, 0];
  const closedBackends = new WeakSet<AnyBackend>();
  const fail = (): never => {
    throw new OmniQError(code, "The backend does not answer; try again when it is back");
  };
  const unanswered = async (answer: unknown): Promise<never> => {
    await answer;
    throw new OmniQError("OMNIQ_OUTCOME_UNKNOWN", "The backend did not answer; the call may have taken effect");
  };
  const cut = <T extends object>(component: T, backend: AnyBackend): T => {
    let closed = false;
    return new Proxy(component, {
      get(own, key) {
        const value: unknown = Reflect.get(own, key, own);
        if (typeof value !== "function") return value;
        return (...given: unknown[]): unknown => {
          const call = (): unknown => (value as (...all: unknown[]) => unknown).apply(own, given);
          closed ||= key === "close" || closedBackends.has(backend);
          if (!away || closed || key === "tail" || key === "onCancel" || typeof key === "symbol") return call();
          if (answered.has(key) || (writes += 1) % 2 === 0) return Promise.resolve().then(fail);
          return unanswered(call());
        };
      },
    });
  };
  const kinds = ["taskQueue", "resultStorage", "eventStorage", "scheduleStorage"] as const;
  const options = changed(referenceOptions(), (own) => {
    const backend: AnyBackend = override(own, {
      close: async () => {
        closedBackends.add(own);
        await own.close();
      },
    });
    return kinds.reduce<AnyBackend>(
      (made, kind) => breakComponent(made, kind, (component) => cut(component, own)),
      backend,
    );
  });
  return {
    ...options,
    outage: {
      stop: async () => {
        away = true;
      },
      start: async () => {
        away = false;
      },
    },
  };
}

/** One state for all namespaces. */
export function sharedOptions(): WorldOptions {
  const options = referenceOptions();
  return { ...options, options: () => options.options("everybody") };
}
