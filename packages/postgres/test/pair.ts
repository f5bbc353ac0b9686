// A primary and a standby of a test's own, which gets every commit before it is acknowledged; both end with the test.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { accessSync, chownSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

const isRoot = process.getuid?.() === 0;

/** PostgreSQL refuses to run as root, so root runs it as another user. */
function owner(): { readonly uid?: number; readonly gid?: number } {
  if (!isRoot) return {};
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  return { uid: Number(user?.[2]), gid: Number(user?.[3]) };
}

/** The folder of the server's programs: on PATH, else the newest of Debian's. */
function programs(): string {
  const base = "/usr/lib/postgresql";
  let versions: string[] = [];
  try {
    versions = readdirSync(base).toSorted((a, b) => Number(b) - Number(a));
  } catch {
    // Not Debian.
  }
  const folders = [
    ...versions.map((version) => join(base, version, "bin")),
    ...(process.env["PATH"] ?? "").split(delimiter),
  ];
  const found = folders.find((folder) => {
    try {
      for (const name of ["initdb", "postgres", "pg_basebackup", "pg_ctl"]) accessSync(join(folder, name));
      return true;
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error("no PostgreSQL server with pg_basebackup and pg_ctl on this machine");
  return found;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export class Pair {
  readonly #bin = programs();
  readonly #owner = owner();
  readonly #folder: string;
  readonly #ports: readonly [number, number];
  readonly #running: ChildProcess[] = [];

  private constructor(ports: readonly [number, number]) {
    this.#ports = ports;
    this.#folder = mkdtempSync(join(tmpdir(), "omniq-pair-"));
    const { uid, gid } = this.#owner;
    if (uid !== undefined && gid !== undefined) chownSync(this.#folder, uid, gid);
  }

  static async start(): Promise<Pair> {
    const pair = new Pair([await freePort(), await freePort()]);
    try {
      const [primary, standby] = pair.#ports;
      pair.#run(
        "initdb",
        "-D",
        pair.#data(0),
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
      );
      // A certificate that nobody has signed, for who insists on one.
      const made = spawnSync(
        "openssl",
        [
          "req",
          "-x509",
          "-newkey",
          "rsa:2048",
          "-nodes",
          "-days",
          "2",
          "-subj",
          "/CN=nobody",
          "-keyout",
          "server.key",
          "-out",
          "server.crt",
        ],
        { cwd: pair.#data(0), ...pair.#owner, encoding: "utf8" },
      );
      if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
      pair.#launch(0, "-c", "ssl=on", "-c", "wal_level=replica", "-c", "synchronous_standby_names=");
      await pair.#answers(primary);
      pair.#run(
        "pg_basebackup",
        "-h",
        "127.0.0.1",
        "-p",
        String(primary),
        "-U",
        "postgres",
        "-D",
        pair.#data(1),
        "-R",
        "-c",
        "fast",
        "--no-sync",
      );
      pair.#launch(1, "-c", "synchronous_standby_names=");
      await pair.#answers(standby);
      await pair.#ask(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
      await pair.#ask(primary, "SELECT pg_reload_conf()");
      return pair;
    } catch (error) {
      pair.stop();
      throw error;
    }
  }

  /** The standby first, so that who takes the first that answers has the wrong one. */
  get dsn(): string {
    const [primary, standby] = this.#ports;
    return `postgresql://postgres@127.0.0.1:${standby},127.0.0.1:${primary}/postgres?target_session_attrs=read-write`;
  }

  get primary(): string {
    return `postgresql://postgres@127.0.0.1:${this.#ports[0]}/postgres`;
  }

  get standby(): string {
    return `postgresql://postgres@127.0.0.1:${this.#ports[1]}/postgres`;
  }

  /** The primary crashes; after a while the standby takes its place. */
  async failOver(afterMs: number): Promise<void> {
    for (const pid of readFileSync(join(this.#data(0), "postmaster.pid"), "utf8")
      .split("\n")
      .slice(0, 1))
      process.kill(Number(pid), "SIGQUIT");
    await sleep(afterMs);
    this.#run("pg_ctl", "promote", "-D", this.#data(1), "-w", "-s");
  }

  stop(): void {
    for (const child of this.#running) child.kill("SIGQUIT");
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  #data(number: 0 | 1): string {
    return join(this.#folder, String(number));
  }

  #run(name: string, ...args: readonly string[]): void {
    const { status, stderr, error } = spawnSync(join(this.#bin, name), args, {
      cwd: this.#folder,
      encoding: "utf8",
      ...this.#owner,
    });
    if (status !== 0) throw new Error(`${name}: ${error?.message ?? stderr}`);
  }

  #launch(number: 0 | 1, ...more: readonly string[]): void {
    const settings = [
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      `unix_socket_directories=${this.#folder}`,
      "-c",
      "fsync=off",
    ];
    const args = ["-D", this.#data(number), "-p", String(this.#ports[number]), ...settings, ...more];
    // What the standby copies of the primary's settings would be of the command line.
    if (number === 1) args.splice(args.indexOf("synchronous_standby_names=") - 1, 0, "-c", "hot_standby=on");
    this.#running.push(
      spawn(join(this.#bin, "postgres"), args, { cwd: this.#folder, stdio: "ignore", ...this.#owner }),
    );
  }

  async #answers(port: number): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return void (await this.#ask(port, "SELECT 1"));
      } catch (error) {
        if (tries > 300) throw error;
        await sleep(100);
      }
    }
  }

  async #ask(port: number, text: string): Promise<void> {
    const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database: "postgres" });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query(text);
    } finally {
      await client.end();
    }
  }
}
