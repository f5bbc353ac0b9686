// A nats-server of a test's own: on loopback, on a free port, in a temporary folder; killed and started again at will; alone or as a cluster.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectSocket, createServer, type Server } from "node:net";
import { delimiter, join } from "node:path";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

/** The server that the tests start: `OMNIQ_TEST_NATS_SERVER`, or the one on PATH. */
function binary(): string {
  const given = process.env["OMNIQ_TEST_NATS_SERVER"];
  if (given !== undefined) return given;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const found = [...folders, "/usr/sbin"].map((folder) => join(folder, "nats-server")).find(existsSync);
  if (found === undefined)
    throw new Error("no nats-server on PATH: install nats-server, the tests start servers of their own");
  return found;
}

async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  for (let index = 0; index < count; index++) {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves when something listens on the port. */
async function listening(port: number, log: () => string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const there = await new Promise<boolean>((resolve) => {
      const socket = connectSocket(port, "127.0.0.1");
      socket.once("data", () => {
        resolve(true);
        socket.destroy();
      });
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
    });
    if (there) return;
    if (tries > 400) throw new Error(`nats-server does not listen:\n${log()}`);
    await sleep(25);
  }
}

export class TestServer {
  readonly port: number;
  readonly folder: string;
  readonly #config: string;
  #child: ChildProcess | undefined;
  #output = "";

  private constructor(port: number, folder: string, more: string) {
    this.port = port;
    this.folder = folder;
    this.#config = join(folder, "server.conf");
    writeFileSync(
      this.#config,
      `host: 127.0.0.1\nport: ${port}\njetstream { store_dir: ${JSON.stringify(join(folder, "store"))} }\n${more}`,
    );
  }

  /** Alone; `more` goes into its configuration. */
  static async start(more = ""): Promise<TestServer> {
    const [port] = await freePorts(1);
    const server = new TestServer(port as number, mkdtempSync(join(tmpdir(), "omniq-nats-")), more);
    await server.start();
    return server;
  }
  /** A cluster of three. */
  static async startCluster(): Promise<readonly TestServer[]> {
    const ports = await freePorts(6);
    const routes = ports.slice(3).map((port) => `nats-route://127.0.0.1:${port}`);
    const servers = ports
      .slice(0, 3)
      .map(
        (port, index) =>
          new TestServer(
            port,
            mkdtempSync(join(tmpdir(), "omniq-nats-")),
            `server_name: n${index}\ncluster { name: test, listen: "127.0.0.1:${ports[index + 3]}", routes: ${JSON.stringify(routes)} }\n`,
          ),
      );
    await Promise.all(servers.map((server) => server.start()));
    await untilReplicated(servers.map(({ url }) => url));
    return servers;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(binary(), ["-c", this.#config], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    child.once("exit", (code, signal) => {
      if (this.#child === child) console.error(`nats-server ended by itself (${code ?? signal}):\n${this.#output}`);
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data: Buffer) => (this.#output = (this.#output + data.toString()).slice(-4_000)));
    await listening(this.port, () => this.#output);
  }

  /** Ends it, by default without a chance to write anything more. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  /** Copies what it stored to another folder, or back. Only while it is down. */
  copyStore(to: string): void {
    cpSync(join(this.folder, "store"), to, { recursive: true });
  }
  restoreStore(from: string): void {
    rmSync(join(this.folder, "store"), { recursive: true, force: true });
    cpSync(from, join(this.folder, "store"), { recursive: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Servers that listen have not yet agreed on a leader, nor told it what room they have: until then no stream with three replicas can be made. */
async function untilReplicated(servers: readonly string[]): Promise<void> {
  const connection = await connect({ servers: [...servers] });
  const { streams } = await jetstreamManager(connection, { checkAPI: false });
  const name = "first";
  for (const until = Date.now() + 60_000; ; await sleep(100))
    try {
      await streams.add({ name, subjects: [name], num_replicas: 3 });
      await streams.delete(name);
      break;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  await connection.close();
}
