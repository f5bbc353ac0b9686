// Pins processes to a core each, so that client and server do not push each other about: unpinned, ratios swing twofold.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";

/** The server's core and the client's. */
export const cores = { server: 0, client: 1 } as const;

/** Whether this machine lets processes be pinned. */
export const canPin: boolean = availableParallelism() > 1 && spawnSync("taskset", ["-V"]).status === 0;

/** Pins a process; what it starts afterwards is pinned with it. */
export function pin(pid: number, core: number): void {
  if (canPin) spawnSync("taskset", ["-a", "-c", "-p", String(core), String(pid)], { stdio: "ignore" });
}
