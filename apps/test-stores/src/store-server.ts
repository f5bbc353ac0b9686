// The HTTP frame of all stand-ins: a loopback server with a round trip, faults on demand, and counts of what was asked.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A request, its body read to the end. */
export interface StoreRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}
export interface StoreAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined;
  readonly body?: Buffer | string | undefined;
}

/** `create` and `replace` are conditional writes, `write` is one without a condition. */
export type OperationKind = "read" | "create" | "replace" | "write" | "list" | "delete" | "other";
/** What a request asks for. The key is that of the store, its prefix included; for a list it is the prefix asked for. */
export interface Operation {
  readonly kind: OperationKind;
  readonly bucket: string;
  readonly key: string;
}

/**
 * What goes wrong with one request.
 * - `refuse`: answered with this status, nothing was done.
 * - `delay`: done, this much later.
 * - `drop-before`: the connection is cut, nothing was done.
 * - `drop-after`: done, and the connection cut in place of an answer.
 * - `late`: the connection is cut at once, and it is done this much later, when its sender believes whatever it likes.
 * - `cut-body`: the answer's connection is cut in the middle of its body.
 * - `hang`: done, and never answered.
 */
export type Fault =
  | { readonly type: "refuse"; readonly status: number; readonly code?: string | undefined }
  | { readonly type: "delay" | "late"; readonly ms: number }
  | { readonly type: "drop-before" | "drop-after" | "cut-body" | "hang" };

export interface StoreServerOptions {
  /** Milliseconds that each request takes on its way there and back. Default 0. */
  readonly roundTripMs?: number | undefined;
  /** Asked for each request. */
  readonly fault?: ((operation: Operation) => Fault | undefined) | undefined;
  /** The store's clock, in epoch milliseconds: `Date` and `Last-Modified`. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** Default: a free one. */
  readonly port?: number | undefined;
}

/** How one kind of store answers. */
export interface Protocol {
  readonly classify: (request: StoreRequest) => Operation;
  readonly answer: (request: StoreRequest) => StoreAnswer | Promise<StoreAnswer>;
  /** An error in the store's own format. */
  readonly error: (status: number, code: string) => StoreAnswer;
}

/** A running stand-in. */
export class StoreServer {
  /** The round trip may be changed while it runs, and so may the faults. */
  roundTripMs: number;
  fault: ((operation: Operation) => Fault | undefined) | undefined;
  /** Where it listens: `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** Requests so far, by kind. */
  readonly counts: Record<OperationKind, number> = {
    read: 0,
    create: 0,
    replace: 0,
    write: 0,
    list: 0,
    delete: 0,
    other: 0,
  };
  /** Bytes of bodies so far, as they came in and went out. */
  bytesIn = 0;
  bytesOut = 0;
  readonly #stop: () => Promise<void>;

  constructor(url: string, options: StoreServerOptions, stop: () => Promise<void>) {
    this.url = url;
    this.roundTripMs = options.roundTripMs ?? 0;
    this.fault = options.fault;
    this.#stop = stop;
  }

  /** Requests of all kinds so far. */
  get requests(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }
  stop(): Promise<void> {
    return this.#stop();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }
}

/** Starts a stand-in on loopback. Resolves when it listens. */
export async function startStoreServer(protocol: Protocol, options: StoreServerOptions): Promise<StoreServer> {
  const http = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    respond(server, protocol, options.now ?? Date.now, request, response).catch(() => response.destroy());
  });
  // Answers that are late or never come must not hold up the stop, and Node's own limits are no part of the store.
  http.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    http.once("error", reject);
    http.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  let stopping: Promise<void> | undefined;
  const server: StoreServer = new StoreServer(
    `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    options,
    () =>
      (stopping ??= new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      })),
  );
  return server;
}

async function respond(
  server: StoreServer,
  protocol: Protocol,
  now: () => number,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const request: StoreRequest = {
    method: incoming.method ?? "GET",
    url: new URL(incoming.url ?? "/", "http://store"),
    headers: incoming.headers,
    body: Buffer.concat(chunks),
  };
  const operation = protocol.classify(request);
  server.counts[operation.kind] += 1;
  server.bytesIn += request.body.length;
  const fault = server.fault?.(operation);
  if (server.roundTripMs > 0) await sleep(server.roundTripMs / 2);
  if (fault?.type === "drop-before") return void response.destroy();
  if (fault?.type === "late") {
    response.destroy();
    await sleep(fault.ms);
    await protocol.answer(request);
    return;
  }
  if (fault?.type === "delay") await sleep(fault.ms);
  const answer =
    fault?.type === "refuse" ? protocol.error(fault.status, fault.code ?? "Injected") : await protocol.answer(request);
  if (fault?.type === "hang") return;
  if (fault?.type === "drop-after") return void response.destroy();
  // The store's clock at the moment of the answer, as real stores stamp it.
  const date = new Date(now()).toUTCString();
  if (server.roundTripMs > 0) await sleep(server.roundTripMs / 2);
  const body = Buffer.from(answer.body ?? "");
  const headers: Record<string, string | string[] | number> = { Date: date };
  for (const [name, value] of Object.entries(answer.headers ?? {}))
    headers[name] = typeof value === "string" ? value : [...value];
  if (answer.status !== 204 && answer.status !== 304) headers["Content-Length"] = body.length;
  server.bytesOut += body.length;
  response.sendDate = false;
  response.writeHead(answer.status, headers);
  if (fault?.type === "cut-body") {
    response.write(body.subarray(0, body.length >>> 1), () => response.destroy());
    return;
  }
  response.end(request.method === "HEAD" ? undefined : body);
}
