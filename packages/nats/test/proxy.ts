// A TCP proxy before a server: cuts connections, or lets nothing through while they seem open.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class Proxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #silent = false;

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const target = connect(port, "127.0.0.1");
      const pair = [client, target] as const;
      this.#pairs.add(pair);
      const end = (): void => {
        this.#pairs.delete(pair);
        client.destroy();
        target.destroy();
      };
      for (const [from, to] of [pair, [target, client] as const]) {
        from.on("data", (data) => {
          if (!this.#silent) to.write(data);
        });
        from.on("close", end);
        from.on("error", end);
      }
    });
  }
  static async start(port: number): Promise<Proxy> {
    const proxy = new Proxy(port);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }
  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }
  /** What is sent from now on is lost, until `cut` or `speak`. */
  hush(): void {
    this.#silent = true;
  }
  speak(): void {
    this.#silent = false;
  }
  cut(): void {
    for (const [client, target] of this.#pairs) {
      client.destroy();
      target.destroy();
    }
  }
  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
