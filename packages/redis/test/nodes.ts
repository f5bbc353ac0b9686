// Servers that a test starts for itself: on loopback, on a free port, in a temporary folder, stopped by their process id.
import { Redis } from "ioredis";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const binary = ["redis-server", "valkey-server"].find((name) => spawnSync(name, ["--version"]).status === 0);

/** One server; it can be killed as by a power cut, and started again on the same data. */
export class Node {
  readonly port: number;
  readonly folder: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;

  constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.folder = mkdtempSync(join(tmpdir(), "omniq-redis-node-"));
    this.#args = args;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    if (binary === undefined) throw new Error("this test starts servers: install redis-server or valkey-server");
    const common = ["--bind", "127.0.0.1", "--port", String(this.port), "--dir", this.folder, "--save", ""];
    this.#child = spawn(binary, [...common, ...this.#args], { stdio: "ignore" });
    await answers(this.port, this.#child);
  }

  /** A Sentinel, which keeps its state in its configuration file. */
  async startSentinel(configuration: string): Promise<void> {
    if (binary === undefined) throw new Error("this test starts servers: install redis-server or valkey-server");
    const file = join(this.folder, "sentinel.conf");
    writeFileSync(file, `bind 127.0.0.1\nport ${this.port}\ndir ${this.folder}\n${configuration}\n`);
    this.#child = spawn(binary, [file, "--sentinel"], { stdio: "ignore" });
    await answers(this.port, this.#child);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await gone;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function answers(port: number, server: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (server.exitCode !== null) throw new Error(`the server on port ${port} ended at once: is the port taken?`);
    const up = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        done(true);
      });
      socket.on("error", () => done(false));
    });
    if (up) return;
    await sleep(50);
  }
  throw new Error(`no server on port ${port}`);
}

/** A free port whose cluster bus port, 10,000 above, exists too. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 30_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise<boolean>((done) => {
    server.once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
}

export async function startNode(...args: string[]): Promise<Node> {
  for (let tries = 1; ; tries++) {
    const node = new Node(await freePort(), args);
    try {
      await node.start();
      return node;
    } catch (error) {
      // The port may have become that of somebody's connection since it was free.
      await node.remove();
      if (tries === 3) throw error;
    }
  }
}

/** The master, of the three of a cluster, that has this slot. */
export function masterOf(slot: number): number {
  return [0, 1, 2].find((index) => slot < Math.floor(((index + 1) * 16_384) / 3)) ?? 2;
}

/** Waits until each of these knows all of a cluster's nodes, so many of them replicas: who is not known is not voted for. */
export async function allKnown(nodes: readonly Node[], replicas: number): Promise<void> {
  for (const node of nodes) {
    const client = new Redis(node.url, { protocol: 2 });
    try {
      for (let tries = 0; ; tries++) {
        const lines = String(await client.cluster("NODES"))
          .trim()
          .split("\n");
        const known = lines.filter((line) => line.includes("slave") && line.includes(" connected"));
        if (lines.length === nodes.length && known.length === replicas) break;
        if (tries > 300) throw new Error("the nodes do not hear of each other");
        await sleep(50);
      }
    } finally {
      client.disconnect();
    }
  }
}

/** Makes a node a replica of the master of a cluster, and waits until it has what the master has. */
export async function addReplica(master: Node): Promise<Node> {
  const node = await startClusterNode();
  const [client, above] = [node, master].map((each) => new Redis(each.url, { protocol: 2 })) as [Redis, Redis];
  try {
    await client.cluster("MEET", "127.0.0.1", master.port);
    const id = String(await above.cluster("MYID"));
    for (let tries = 0; ; tries++) {
      try {
        await client.cluster("REPLICATE", id);
        break;
      } catch (error) {
        // It has not heard of the master yet.
        if (tries > 300) throw error;
        await sleep(50);
      }
    }
    for (let tries = 0; !(await client.info("replication")).includes("master_link_status:up"); tries++) {
      if (tries > 300) throw new Error("the replica does not catch up");
      await sleep(50);
    }
  } finally {
    client.disconnect();
    above.disconnect();
  }
  return node;
}

function startClusterNode(): Promise<Node> {
  const quick = ["--repl-diskless-sync-delay", "0", "--cluster-node-timeout", "2000"];
  // On a busy machine a replica may seem to have been away for long; it takes over all the same.
  quick.push("--cluster-replica-validity-factor", "0");
  return startNode("--cluster-enabled", "yes", "--appendonly", "no", ...quick);
}

/** A cluster of three masters. */
export async function startCluster(): Promise<readonly Node[]> {
  const nodes = await Promise.all([0, 1, 2].map(() => startClusterNode()));
  const clients = nodes.map((node) => new Redis(node.url, { protocol: 2 }));
  try {
    for (const [index, client] of clients.entries()) {
      await client.cluster("SET-CONFIG-EPOCH", index + 1);
      const from = Math.floor((index * 16_384) / 3);
      const to = Math.floor(((index + 1) * 16_384) / 3);
      await client.cluster("ADDSLOTS", ...Array.from({ length: to - from }, (_, n) => from + n));
      if (index > 0) await client.cluster("MEET", "127.0.0.1", (nodes[0] as Node).port);
    }
    for (const client of clients) {
      for (let tries = 0; ; tries++) {
        const info = String(await client.cluster("INFO"));
        if (info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3")) break;
        if (tries > 300) throw new Error("the cluster does not come together");
        await sleep(50);
      }
    }
  } finally {
    for (const client of clients) client.disconnect();
  }
  return nodes;
}
