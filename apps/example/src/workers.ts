// Starts the mill's workers: processes where the backend can be shared, one worker in this process where it cannot.
import { fork, type ChildProcess } from "node:child_process";
import type { OmniQ } from "@omniq/core";
import { tasks } from "./tasks.ts";

export interface Workers {
  readonly description: string;
  stop(): Promise<void>;
}

/** Short, so that the tasks of a worker that died are soon taken over; stores far away need longer ones. */
export function leaseOf(omniq: OmniQ): number {
  return Math.max(3_000, omniq.components.taskQueue.capabilities.minimumLeaseMs);
}

/** Starts `count` workers on the configuration. A process that dies is replaced; its tasks are taken over when their leases run out. */
export async function startWorkers(
  omniq: OmniQ,
  config: string,
  count: number,
  log: (line: string) => void,
): Promise<Workers> {
  if (
    omniq.components.taskQueue.capabilities.reach === "process" ||
    omniq.components.resultStorage?.capabilities.reach === "process"
  ) {
    const worker = omniq.worker({ tasks, concurrency: 4 * count, leaseMs: leaseOf(omniq) });
    await worker.start();
    return {
      description: "one worker in this process (the backend cannot be shared with others)",
      stop: () => worker.stop(),
    };
  }
  let stopping = false;
  const children = new Set<ChildProcess>();
  const start = (): ChildProcess => {
    const child = fork(new URL("./worker.js", import.meta.url), [config], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    children.add(child);
    child.once("exit", (code, signal) => {
      children.delete(child);
      if (stopping) return;
      log(`worker ${child.pid} died (${signal ?? `exit ${code}`}); worker ${start().pid} takes its place`);
    });
    return child;
  };
  const pids = Array.from({ length: count }, () => start().pid);
  return {
    description: `${count} worker ${count === 1 ? "process" : "processes"} (${pids.join(", ")})`,
    stop: async () => {
      stopping = true;
      await Promise.all(
        [...children].map(
          (child) =>
            new Promise<void>((resolve) => {
              child.once("exit", () => resolve());
              child.kill("SIGTERM");
            }),
        ),
      );
    },
  };
}
