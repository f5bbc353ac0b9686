// The world of a case: a namespace of its own, connections that are closed after it, and the store's clock.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ComponentCapabilities } from "@omniq/core";
import { createProcesses } from "./processes/index.ts";
import type { AnyBackend, Clock, DamageKind, World } from "./suite.ts";

/** How the adapter under test is reached. All of it comes from the adapter's own test. */
export interface WorldOptions {
  /** Makes a backend from options. */
  readonly adapter: (options: never) => AnyBackend;
  /** Options for one isolated namespace. They must survive JSON where `module` is given. */
  readonly options: (namespace: string) => unknown;
  /** URL of a module that exports `adapter`, for processes of their own. Without it there are no races between processes. */
  readonly module?: string | URL | undefined;
  /** For adapters whose options take a clock: `advance` moves it. Without it cases wait in real time. */
  readonly clock?: { now(): number; advance(ms: number): void } | undefined;
  /** Takes the server away and brings it back. */
  readonly outage?: World["outage"];
  /** Runs before a namespace is opened again, as after the death of all processes. `false`: it can't be. Default: close and open. */
  readonly reopen?: boolean | ((namespace: string) => Promise<void>) | undefined;
  /** Runs `body` in a transaction of the user's on the namespace; commits, or rolls back and rejects when `body` throws or rejects. */
  readonly transaction?: ((namespace: string, body: (transaction: unknown) => unknown) => Promise<unknown>) | undefined;
  /**
   * Spoils what is stored under an id, so that it cannot be read: as a failing disk, a newer version or a person with a shell would. Of a task
   * that is its own record or text, not the indexes over it. The kit has no connection to the namespace while it runs. Without it the cases of
   * `damaged-item` are left out.
   */
  readonly damage?: ((namespace: string, kind: DamageKind, id: string) => void | Promise<void>) | undefined;
  /** Removes what a namespace left behind. */
  readonly cleanUp?: ((namespace: string) => void | Promise<void>) | undefined;
}

/** A world that is closed when its case is over. */
export interface OpenWorld {
  readonly world: World;
  close(): Promise<void>;
}

const realClock: Clock = { controlled: false, now: () => Date.now(), pass: async (ms) => void (await sleep(ms)) };

/** A fresh namespace: letters, digits and `_`, so that it is a name anywhere. */
export function freshNamespace(): string {
  return `omniq_${randomUUID().replaceAll("-", "").slice(0, 20)}`;
}

/** Opens a world. The namespaces that cases name themselves are made apart by the world's own. */
export async function openWorld(options: WorldOptions): Promise<OpenWorld> {
  const namespace = freshNamespace();
  const namespaces = new Map<string, string>();
  const opened: { backend: AnyBackend; namespace: string }[] = [];

  const open = (name: string): AnyBackend => {
    const backend = options.adapter(options.options(name) as never);
    opened.push({ backend, namespace: name });
    return backend;
  };
  const closeAll = async (): Promise<void> => {
    const results = await Promise.allSettled(opened.splice(0).map(({ backend }) => backend.close()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  };
  const close = async (): Promise<void> => {
    try {
      await closeAll();
    } finally {
      for (const name of [namespace, ...namespaces.values()]) await options.cleanUp?.(name);
    }
  };

  try {
    const backend = open(namespace);
    const { clock, damage, module, reopen, transaction } = options;
    const world: World = {
      namespace,
      backend,
      open: async (name) => {
        if (name === undefined || name === namespace) return open(namespace);
        if (!namespaces.has(name)) namespaces.set(name, `${namespace}_${namespaces.size + 1}`);
        return open(namespaces.get(name) as string);
      },
      clock:
        clock === undefined
          ? realClock
          : {
              controlled: true,
              now: () => clock.now(),
              pass: async (ms) => {
                clock.advance(ms);
                // Waiters that look at the clock on timers of their own get to run.
                await sleep(1);
              },
            },
      processes:
        module === undefined || reach(backend) === "process"
          ? undefined
          : createProcesses(new URL(module), options.options, namespace),
      outage: options.outage,
      reopen:
        reopen === false || (reopen === undefined && !isDurable(backend))
          ? undefined
          : async () => {
              await closeAll();
              if (typeof reopen === "function") await reopen(namespace);
              return open(namespace);
            },
      damage:
        damage === undefined
          ? undefined
          : async (kind, ids) => {
              await closeAll();
              for (const id of ids) await damage(namespace, kind, id);
              return open(namespace);
            },
      transaction:
        transaction === undefined
          ? undefined
          : async <T>(body: (given: unknown) => T): Promise<Awaited<T>> =>
              (await transaction(namespace, body)) as Awaited<T>,
    };
    return { world, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function isDurable(backend: AnyBackend): boolean {
  return capabilitiesOf(backend)?.durable === true;
}
function reach(backend: AnyBackend): string | undefined {
  return capabilitiesOf(backend)?.reach;
}

/** What a backend's components have in common, as its first one says. */
export function capabilitiesOf(backend: AnyBackend): ComponentCapabilities | undefined {
  return (backend.taskQueue?.() ?? backend.resultStorage?.() ?? backend.eventStorage?.() ?? backend.scheduleStorage?.())
    ?.capabilities;
}
