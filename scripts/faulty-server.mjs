// A server of a test's own behind a TCP proxy: it can be restarted, its connections cut and its clock set, while programs use it.
import { rmSync, mkdtempSync, chmodSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { clockEnvironment, setClock } from "../apps/torture/dist/clocks.js";
import { startOwnServer } from "./servers.mjs";

/**
 * `{ name, url, restarts, clock, restart(crash, awayMs), cut(awayMs), setClock(offMs), stop() }`; `url` goes by way of the proxy. The clock of
 * PostgreSQL alone can be set, where libfaketime is given: the others do not ask the C library for the time.
 */
export async function startFaultyServer(name, clockLibrary) {
  const clock = clockLibrary !== undefined && name === "postgres";
  const folder = mkdtempSync(join(tmpdir(), "omniq-clock-"));
  // The server may run as another user.
  chmodSync(folder, 0o755);
  const clockFile = join(folder, "clock");
  if (clock) setClock(clockFile, 0);
  const server = await startOwnServer(name, { environment: clock ? clockEnvironment(clockLibrary, clockFile) : {} });
  const proxy = await startProxy(server.port);
  const url = new URL(server.url);
  url.port = String(proxy.port);
  return {
    name,
    url: url.href,
    restarts: true,
    clock,
    restart: server.restart,
    cut: proxy.cut,
    setClock: (offMs) => setClock(clockFile, offMs),
    async stop() {
      proxy.stop();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Passes connections on to a port of this host: `{ port, cut(awayMs), stop() }`. */
export async function startProxy(targetPort) {
  const sockets = new Set();
  let away = 0;
  const proxy = createServer((client) => {
    if (away > 0) return client.destroy();
    const target = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [client, target],
      [target, client],
    ]) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    port: proxy.address().port,
    /** Cuts all connections and refuses new ones for a while. */
    async cut(awayMs) {
      away++;
      for (const socket of sockets) socket.destroy();
      await sleep(awayMs);
      away--;
    },
    stop() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
