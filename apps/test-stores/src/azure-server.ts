// A stand-in for Azure Blob Storage: Azurite in memory, behind a frame that adds the round trip and the faults.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { createRequire } from "node:module";
import { createServer, connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  startStoreServer,
  type Operation,
  type StoreAnswer,
  type StoreRequest,
  type StoreServer,
  type StoreServerOptions,
} from "./store-server.ts";
import { xmlError } from "./xml.ts";

/** The account that Azurite has, and its key, which its documentation publishes. */
export const azuriteAccount = "devstoreaccount1";
export const azuriteKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const startTimeoutMs = 60_000;

/** Starts Azurite in a process of its own on a free port of loopback. Containers are made by the test. */
export async function startAzureServer(options: StoreServerOptions = {}): Promise<StoreServer> {
  const folder = mkdtempSync(join(tmpdir(), "omniq-azurite-"));
  const port = await freePort();
  const script = createRequire(import.meta.url).resolve("azurite/dist/src/blob/main.js");
  const args = [script, "--blobHost", "127.0.0.1", "--blobPort", String(port)];
  const azurite = spawn(
    process.execPath,
    [...args, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"],
    // What it writes beside its memory goes to the folder that it runs in.
    { cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  azurite.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const kill = (): void => void azurite.kill("SIGKILL");
  process.once("exit", kill);
  const end = async (): Promise<void> => {
    process.off("exit", kill);
    if (azurite.exitCode === null && azurite.signalCode === null) {
      const gone = new Promise<void>((resolve) => azurite.once("exit", () => resolve()));
      kill();
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await untilListening(azurite, port, () => said);
  } catch (error) {
    await end();
    throw error;
  }
  const server = await startStoreServer({ classify, error, answer: (request) => forward(request, port) }, options);
  const stop = server.stop.bind(server);
  server.stop = async () => {
    await stop();
    await end();
  };
  return server;
}

function classify({ method, url, headers }: StoreRequest): Operation {
  const [, , bucket = "", ...rest] = url.pathname.split("/").map(decodeURIComponent);
  const key = rest.join("/");
  if (url.searchParams.get("comp") === "list")
    return { kind: "list", bucket, key: url.searchParams.get("prefix") ?? "" };
  if (key === "" || url.searchParams.has("comp")) return { kind: "other", bucket, key };
  if (method === "GET") return { kind: "read", bucket, key };
  if (method === "DELETE") return { kind: "delete", bucket, key };
  if (method !== "PUT") return { kind: "other", bucket, key };
  const kind =
    headers["if-none-match"] === undefined ? (headers["if-match"] === undefined ? "write" : "replace") : "create";
  return { kind, bucket, key };
}

function error(status: number, code: string): StoreAnswer {
  return { status, headers: { "Content-Type": "application/xml", "x-ms-error-code": code }, body: xmlError(code) };
}

/** Sends the request on as it came: what was signed must not change. */
function forward({ method, url, headers, body }: StoreRequest, port: number): Promise<StoreAnswer> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      { host: "127.0.0.1", port, method, path: `${url.pathname}${url.search}`, headers },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("end", () => {
          const passed = Object.entries(answer.headers).filter(
            (entry): entry is [string, string] =>
              typeof entry[1] === "string" &&
              !["connection", "keep-alive", "transfer-encoding", "content-length", "date"].includes(entry[0]),
          );
          resolve({
            status: answer.statusCode ?? 502,
            headers: Object.fromEntries(passed),
            body: Buffer.concat(chunks),
          });
        });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

async function untilListening(child: ChildProcess, port: number, said: () => string): Promise<void> {
  for (const end = Date.now() + startTimeoutMs; Date.now() < end; await sleep(50)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`azurite ended at once: ${said()}`);
    const listening = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("close", () => socket.destroy());
      socket.once("connect", () => socket.destroy());
    });
    if (listening) return;
  }
  throw new Error(`azurite did not listen within ${startTimeoutMs} ms: ${said()}`);
}
