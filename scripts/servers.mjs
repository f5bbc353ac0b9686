// Servers for tests: `startServers(["redis", "postgres", "nats"])` gives the URL of each. It takes, in this order, the URL in the
// environment, a usable server on the standard port, a binary on this machine, Debian's package (as root on Debian or Ubuntu).
// A server that was found is not ours: it is never stopped or flushed. One that was started listens on loopback, on a free port,
// in a temporary folder, and is stopped by its process id. Uses Node's own modules only.
import { spawn, spawnSync } from "node:child_process";
import {
  accessSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const startTimeoutMs = 30_000;
const stopTimeoutMs = 10_000;
const isRoot = process.getuid?.() === 0;

/** What is to be known of each kind of server. `usable` says whether a server that listens lets us in with no password. */
const kinds = {
  redis: {
    variable: "OMNIQ_TEST_REDIS_URL",
    port: 6379,
    install: "redis-server or valkey-server",
    packages: ["redis-server"],
    url: (port) => `redis://127.0.0.1:${port}`,
    usable: (port) => talk(port, "PING\r\n", (answer) => answer.startsWith("+PONG")),
    find: () => onPath("redis-server") ?? onPath("valkey-server"),
    start: (binary, port, folder, more, env) =>
      launch(
        binary,
        [
          "--bind",
          "127.0.0.1",
          "--port",
          port,
          "--dir",
          folder,
          "--save",
          "",
          "--maxmemory-policy",
          "noeviction",
          ...more,
        ],
        folder,
        { env },
      ),
    // Every write is on disk before it is answered, so that a crash of the server loses nothing.
    durable: ["--appendonly", "yes", "--appendfsync", "always"],
  },
  postgres: {
    variable: "OMNIQ_TEST_POSTGRES_URL",
    port: 5432,
    install: "PostgreSQL (the server, with initdb)",
    packages: ["postgresql"],
    url: (port) => `postgresql://postgres@127.0.0.1:${port}/postgres`,
    usable: (port) =>
      talk(
        port,
        postgresGreeting(),
        (answer, bytes) => bytes[0] === 0x52 && bytes.length >= 9 && bytes.readInt32BE(5) === 0,
      ),
    find: findPostgres,
    start: startPostgres,
  },
  nats: {
    variable: "OMNIQ_TEST_NATS_URL",
    port: 4222,
    install: "nats-server",
    packages: ["nats-server"],
    url: (port) => `nats://127.0.0.1:${port}`,
    usable: (port) => talk(port, "", natsUsable),
    find: () => onPath("nats-server"),
    start: (binary, port, folder, _more, env) =>
      launch(binary, ["-js", "-a", "127.0.0.1", "-p", port, "-sd", folder], folder, { env }),
  },
};

/**
 * Finds or starts the servers named, and writes each URL to its environment variable, so that child processes find it.
 * Answers `{ servers: [{ name, url, origin }], stop }`; `stop()` ends what was started here, and may be called twice.
 */
export async function startServers(names) {
  const started = [];
  const killAll = () => {
    for (const server of started) server.kill();
  };
  process.once("exit", killAll);
  let stopped;
  const stop = () =>
    (stopped ??= (async () => {
      await Promise.all(started.map((server) => server.stop()));
      process.removeListener("exit", killAll);
    })());
  const servers = [];
  try {
    for (const name of names) {
      if (!Object.hasOwn(kinds, name))
        throw new Error(`unknown server "${name}"; known: ${Object.keys(kinds).join(", ")}`);
      const server = await obtain(name, kinds[name], started);
      process.env[kinds[name].variable] = server.url;
      servers.push(server);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { servers, stop };
}

async function obtain(name, kind, started) {
  const given = process.env[kind.variable];
  if (given) return { name, url: given, origin: "environment" };
  if (await kind.usable(kind.port)) return { name, url: kind.url(kind.port), origin: "standard port" };
  const { server, port } = await begin(name, kind, [], started);
  return { name, url: kind.url(port), origin: "started", pid: server.pid };
}

/**
 * A server of one's own, never one that was found: `{ url, port, pid, restart(crash, awayMs), stop() }`. It keeps what it acknowledged when it
 * crashes, for tests of faults, unless `durable` is false: then it runs with the settings of `startServers`. It runs with `environment` beside
 * what this process has.
 */
export async function startOwnServer(name, { durable = true, environment = {} } = {}) {
  const kind = kinds[name];
  const started = [];
  const killAll = () => started[0]?.kill();
  process.once("exit", killAll);
  const { server, port } = await begin(name, kind, durable ? kind.durable : [], started, environment);
  return {
    url: kind.url(port),
    port,
    pid: server.pid,
    restart: server.restart,
    async stop() {
      process.removeListener("exit", killAll);
      await server.stop();
    },
  };
}

/** Starts a server, notes it in `started` at once so that it ends with this process, and waits until it answers. */
async function begin(name, kind, more, started, environment = {}) {
  const binary = kind.find() ?? (installPackages(kind.packages) ? kind.find() : undefined);
  if (binary === undefined)
    throw new Error(
      `no ${name} server for the tests: set ${kind.variable}, or run one on port ${kind.port}, or install ${kind.install}`,
    );
  const folder = mkdtempSync(join(tmpdir(), `omniq-${name}-`));
  const port = await freePort();
  let server;
  try {
    server = await kind.start(binary, String(port), folder, more, { ...process.env, ...environment });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  started.push(server);
  const deadline = Date.now() + startTimeoutMs;
  while (!(await kind.usable(port))) {
    const late = Date.now() > deadline;
    if (server.ended() || late) {
      const said = server.log();
      server.kill();
      throw new Error(
        `${name} ${late ? `was not ready within ${startTimeoutMs} ms` : "ended while starting"}:\n${said}`,
      );
    }
    await sleep(50);
  }
  return { server, port };
}

/** Starts a process whose output goes to a file in its folder. `more` is the environment, the uid and the gid that it runs with. */
function launch(binary, args, folder, more, signal = "SIGTERM") {
  const logFile = join(folder, "server.log");
  let failure = "";
  let child;
  let end;
  const begin = () => {
    const output = openSync(logFile, "a");
    child = spawn(binary, args, { cwd: folder, stdio: ["ignore", output, output], ...more });
    closeSync(output);
    end = new Promise((resolve) => {
      child.once("exit", resolve);
      child.once("error", (error) => {
        failure = error.message;
        resolve();
      });
    });
  };
  const ended = () => failure !== "" || child.exitCode !== null || child.signalCode !== null;
  const clean = () => rmSync(folder, { recursive: true, force: true });
  const halt = async (how) => {
    if (ended()) return;
    child.kill(how);
    const late = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await end;
    clearTimeout(late);
  };
  begin();
  return {
    pid: child.pid,
    ended,
    log: () => failure || readFileSync(logFile, "utf8").slice(-2000),
    kill() {
      if (!ended()) child.kill("SIGKILL");
      clean();
    },
    /** Ends the server, by `crash` as a failing machine would, and starts it again on the same data and port after a while. */
    async restart(crash, awayMs) {
      await halt(crash ? "SIGKILL" : signal);
      await sleep(awayMs);
      begin();
    },
    async stop() {
      await halt(signal);
      clean();
    },
  };
}

/** PostgreSQL refuses to run as root, so root runs it as another user. */
function startPostgres(binary, port, folder, _more, env) {
  const owner = isRoot ? unprivilegedUser() : {};
  if (isRoot) chownSync(folder, owner.uid, owner.gid);
  const data = join(folder, "data");
  const made = spawnSync(
    join(binary, "initdb"),
    ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
    {
      cwd: folder,
      encoding: "utf8",
      ...owner,
    },
  );
  if (made.status !== 0) throw new Error(`initdb failed: ${made.error?.message ?? made.stderr}`);
  // SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave.
  const args = [
    "-D",
    data,
    "-p",
    port,
    "-c",
    "listen_addresses=127.0.0.1",
    "-c",
    `unix_socket_directories=${folder}`,
    "-c",
    "max_connections=200",
  ];
  return launch(join(binary, "postgres"), args, folder, { ...owner, env }, "SIGINT");
}

/** The folder that has both `postgres` and `initdb`: on PATH, else the newest of Debian's. */
function findPostgres() {
  const base = "/usr/lib/postgresql";
  const versions = existsSync(base) ? readdirSync(base).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [...pathFolders(), ...versions.map((version) => join(base, version, "bin"))];
  return folders.find((folder) => executable(join(folder, "postgres")) && executable(join(folder, "initdb")));
}

function unprivilegedUser() {
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody");
  if (user === undefined)
    throw new Error("PostgreSQL cannot run as root, and there is no user postgres or nobody to run it as");
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

/** The first message of PostgreSQL's protocol 3.0; a server that trusts us answers `R` (0x52) with 0. */
function postgresGreeting() {
  const body = Buffer.from("user\0postgres\0database\0postgres\0\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, body]);
}

function natsUsable(answer) {
  const line = /^INFO (\{.*\})/.exec(answer)?.[1];
  if (line === undefined) return false;
  try {
    const info = JSON.parse(line);
    return info.jetstream === true && info.auth_required !== true && info.tls_required !== true;
  } catch {
    return false; // the line is not whole yet, or the server is not NATS
  }
}

/** Sends a message to a port of loopback; true once `accept` likes what came back, false after a second or a refusal. */
function talk(port, message, accept) {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    const socket = connect({ port: Number(port), host: "127.0.0.1" });
    const finish = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => finish(false));
    socket.on("error", () => finish(false));
    socket.on("close", () => finish(false));
    socket.on("connect", () => socket.write(message));
    socket.on("data", (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (accept(bytes.toString("latin1"), bytes)) finish(true);
    });
  });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const pathFolders = () => (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");

function onPath(name) {
  return pathFolders()
    .map((folder) => join(folder, name))
    .find(executable);
}

function executable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Installs Debian packages where that is allowed. Their services are kept from starting: the tests start their own. */
export function installPackages(packages) {
  if (!isRoot || onPath("apt-get") === undefined) return false;
  console.log(`Installing ${packages.join(", ")} with apt-get…`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const apt = (...args) => spawnSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  return apt("update", "-qq") && apt("install", "-y", "-qq", "--no-install-recommends", ...packages);
}

/** The servers that the adapters in `packages/` need. */
export function serversNeeded(packageNames) {
  return Object.keys(kinds).filter((name) => packageNames.includes(name));
}

// By hand: `node scripts/servers.mjs redis postgres nats` keeps them until Ctrl+C.
if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { servers, stop } = await startServers(process.argv.slice(2));
  console.log(JSON.stringify(servers, null, 2));
  const held = setInterval(() => {}, 60_000);
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => {
      clearInterval(held);
      void stop();
    });
}
