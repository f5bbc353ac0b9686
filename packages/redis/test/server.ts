// The server of these tests, a proxy that can take it away, and the removal of what a prefix left behind.
import { Redis } from "ioredis";
import { createServer, connect, type Server, type Socket } from "node:net";

export const url: string = process.env["OMNIQ_TEST_REDIS_URL"] ?? "redis://127.0.0.1:6379";

/** A TCP proxy: it can cut everything and refuse, or swallow everything. */
export class Proxy {
  readonly url: string;
  readonly port: number;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  swallows = false;

  private constructor(target: URL, server: Server, port: number) {
    this.#target = { host: target.hostname, port: Number(target.port || 6379) };
    this.#server = server;
    this.port = port;
    const own = new URL(target);
    own.hostname = "127.0.0.1";
    own.port = String(port);
    this.url = own.href;
    server.on("connection", (socket) => this.#serve(socket));
  }

  static async start(target: string): Promise<Proxy> {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    server.unref();
    return new Proxy(new URL(target), server, (server.address() as { port: number }).port);
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    this.cut();
    await closed;
  }

  async start(): Promise<void> {
    await new Promise<void>((done) => this.#server.listen(this.port, "127.0.0.1", done));
    this.#server.unref();
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #serve(socket: Socket): void {
    const upstream = connect(this.#target);
    for (const one of [socket, upstream]) {
      this.#sockets.add(one);
      one.unref();
      one.setNoDelay(true);
      one.on("error", () => one.destroy());
    }
    const end = (): void => {
      socket.destroy();
      upstream.destroy();
      this.#sockets.delete(socket);
      this.#sockets.delete(upstream);
    };
    socket.on("close", end);
    upstream.on("close", end);
    socket.on("data", (data) => void (this.swallows || upstream.write(data)));
    upstream.on("data", (data) => void (this.swallows || socket.write(data)));
  }
}

/** All tests go through it; some take it away for a while. */
export const outage: Proxy = await Proxy.start(url);

/** Deletes the keys of one prefix, and no others. */
export async function removeKeys(server: string, prefix: string): Promise<void> {
  const client = new Redis(server, { protocol: 2 });
  try {
    let cursor = "0";
    do {
      const [next, keys] = await client.scan(cursor, "MATCH", `{${prefix}}:*`, "COUNT", 1_000);
      cursor = next;
      if (keys.length > 0) await client.unlink(...keys);
    } while (cursor !== "0");
  } finally {
    client.disconnect();
  }
}
