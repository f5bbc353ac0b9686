// A server of a test's own behind a TCP proxy: it can be restarted, and its connections cut, while programs use it.
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startOwnServer } from "./servers.mjs";

/** `{ name, url, restart(crash, awayMs), cut(awayMs), stop() }`; `url` goes by way of the proxy. */
export async function startFaultyServer(name) {
  const server = await startOwnServer(name);
  const sockets = new Set();
  let away = false;
  const proxy = createServer((client) => {
    if (away) return client.destroy();
    const target = connect(server.port, "127.0.0.1");
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
  const url = new URL(server.url);
  url.port = String(proxy.address().port);
  return {
    name,
    url: url.href,
    restart: server.restart,
    /** Cuts all connections and refuses new ones for a while. */
    async cut(awayMs) {
      away = true;
      for (const socket of sockets) socket.destroy();
      await sleep(awayMs);
      away = false;
    },
    async stop() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      await server.stop();
    },
  };
}
