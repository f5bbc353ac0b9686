// Starts a server of the bench's own, pinned to the server's core, by the launcher of the tests.
import { canPin, cores, pin } from "../frame/cores.ts";

export interface OwnServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}
interface Launcher {
  startOwnServer(name: string, options: { readonly durable: boolean }): Promise<OwnServer>;
}

/** Never one that was found; it is stopped with the bench. */
export async function startOwnServer(name: "redis" | "postgres" | "nats"): Promise<OwnServer> {
  const launcher = new URL("../../../../scripts/servers.mjs", import.meta.url).href;
  const { startOwnServer } = (await import(launcher)) as Launcher;
  // A child is pinned from its start as its parent is; that holds for those that a server forks, too.
  if (canPin) pin(process.pid, cores.server);
  try {
    return await startOwnServer(name, { durable: false });
  } finally {
    if (canPin) pin(process.pid, cores.client);
  }
}

let made = 0;
/** A name that no other run has. */
export const newPrefix = (): string => `bench_${process.pid}_${++made}`;
