// One connection to NATS, opened when it is first needed: requests that end when the connection breaks, and who hears that it is back.
import { readFile } from "node:fs/promises";
import { isOmniQError, OmniQError } from "@omniq/core";
import { endSoon } from "@omniq/replica";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import {
  connect,
  credsAuthenticator,
  PermissionViolationError,
  RequestError,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type NodeConnectionOptions,
} from "@nats-io/transport-node";
import { isApiError, natsFailure } from "./failures.ts";
import type { CheckedOptions } from "./options.ts";

/** How long one request may take before its answer counts as lost. */
export const requestMs = 5_000;
/** How long the first try waits; each that is not answered has the next wait longer. A leader that died answers nobody, and the next one is there soon. */
const firstPatienceMs = 1_000;
const patienceGrowth = 1.25;
/** What is sent takes its time too. */
const bytesInASecond = 262_144;
/** How long a call of the JetStream API is asked again. */
const manageMs = 10_000;

interface Open {
  readonly nats: NatsConnection;
  readonly manager: JetStreamManager;
}

export class Connection {
  readonly #options: CheckedOptions;
  readonly #returned = new Set<() => void>();
  /** Ends what is under way; requests with their subject. */
  readonly #broken = new Map<(reason: Error) => void, string | undefined>();
  #opening: Promise<Open> | undefined;
  #away = false;
  #patienceMs = firstPatienceMs;
  #closed = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
  }

  get closed(): boolean {
    return this.#closed;
  }
  /** It was open, and the server has gone. */
  get away(): boolean {
    return this.#away;
  }

  /** Calls the listener after the connection was lost and is there again. Answers with a function that ends it. */
  onReturn(listener: () => void): () => void {
    this.#returned.add(listener);
    return () => void this.#returned.delete(listener);
  }

  /** The open connection. Rejects with `OMNIQ_BACKEND_UNAVAILABLE` while the server is away. */
  async open(): Promise<Open> {
    if (this.#closed) throw this.closedError();
    const open = await (this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = undefined;
      throw natsFailure(error, "Connecting");
    }));
    if (this.#closed) throw this.closedError();
    return open;
  }

  /**
   * A request that changes something. Rejects with `OMNIQ_OUTCOME_UNKNOWN` when it was sent and the connection breaks, no answer comes in time, or this
   * is closed; with another error when it was not sent, or refused.
   */
  async request(subject: string, payload: Uint8Array | string, headers?: MsgHdrs): Promise<Msg> {
    const { nats } = await this.open();
    // What is published while it is away would be sent whenever it is back, long after its caller was told that it failed.
    if (this.#away) throw natsFailure(new Error("disconnected"), "A request");
    const timeout = this.#patienceMs + Math.ceil((payload.length / bytesInASecond) * 1_000);
    try {
      const answer = await this.#unbroken(
        nats.request(subject, payload, { timeout, ...(headers && { headers }) }),
        "A request",
        subject,
      );
      this.#patienceMs = firstPatienceMs;
      return answer;
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined;
      if (isTimeout(cause)) this.#patienceMs = Math.min(requestMs, this.#patienceMs * patienceGrowth);
      // Where nobody listens, nobody has heard it.
      if (!isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE") || isNoResponders(cause)) throw error;
      throw new OmniQError("OMNIQ_OUTCOME_UNKNOWN", `${error.message}; what was sent may have been stored`, {
        cause: error,
      });
    }
  }

  /**
   * A call of the JetStream API that may be made twice. One that is not answered is, and whichever answer comes first counts: a leader that died
   * answers nobody, and of several who make the same stream at the same time a cluster of 2.9 leaves some without an answer.
   */
  async manage<T>(what: string, call: (manager: JetStreamManager) => Promise<T>): Promise<T> {
    const { manager } = await this.open();
    const until = performance.now() + manageMs;
    const timers = new Set<NodeJS.Timeout>();
    try {
      return await new Promise<T>((resolve, reject) => {
        let open = 0;
        const ask = (patienceMs: number): void => {
          if (this.#away) return reject(natsFailure(new Error("disconnected"), what));
          open++;
          const again = setTimeout(() => {
            timers.delete(again);
            if (performance.now() < until) ask(Math.min(requestMs, patienceMs * patienceGrowth));
          }, patienceMs);
          timers.add(again);
          this.#unbroken(call(manager), what).then(resolve, (error: unknown) => {
            open--;
            const isLost = error instanceof Error && isTimeout(error.cause);
            if (!isLost || (open === 0 && performance.now() >= until)) reject(error as Error);
          });
          return undefined;
        };
        ask(firstPatienceMs);
      });
    } finally {
      for (const timer of timers) clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const fail of this.#broken.keys()) fail(this.closedError());
    const opening = this.#opening;
    this.#returned.clear();
    if (opening === undefined || this.#options.given.connection !== undefined) return;
    // A server that does not answer is not waited for, neither to connect nor to part.
    await endSoon(opening.then(({ nats }) => nats.close()));
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", "The NATS backend is closed; make a new one to go on");
  }

  #unbroken<T>(answer: Promise<T>, what: string, subject?: string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const fail = (reason: unknown): void => {
        this.#broken.delete(fail);
        reject(reason as Error);
      };
      this.#broken.set(fail, subject);
      answer.then(
        (value) => {
          this.#broken.delete(fail);
          resolve(value);
        },
        // The client's own error is kept where the caller looks at its code.
        (error: unknown) =>
          fail(this.#closed ? this.closedError() : isApiError(error) ? error : natsFailure(error, what)),
      );
    });
  }

  async #connect(): Promise<Open> {
    const nats = this.#options.given.connection ?? (await connect(await this.#clientOptions()));
    const manager = await jetstreamManager(nats, { checkAPI: false, timeout: requestMs });
    this.#away = false;
    void this.#watch(nats);
    return { nats, manager };
  }

  async #clientOptions(): Promise<NodeConnectionOptions> {
    const { given, servers } = this.#options;
    const { username, password, token, credentials, tls, inboxPrefix } = given;
    const options: NodeConnectionOptions = {
      servers: [...servers],
      name: "omniq",
      maxReconnectAttempts: -1,
      reconnectTimeWait: 200,
      reconnectJitter: 100,
      timeout: requestMs,
      // A connection that is cut without a word is found out within 15 seconds, well inside a lease.
      pingInterval: 5_000,
      maxPingOut: 2,
      noAsyncTraces: true,
    };
    if (inboxPrefix !== undefined) options.inboxPrefix = inboxPrefix;
    if (username !== undefined) options.user = username;
    if (password !== undefined) options.pass = password;
    if (token !== undefined) options.token = token;
    if (credentials !== undefined) {
      const authenticator = credsAuthenticator(await readOption("credentials", credentials));
      try {
        authenticator("nonce");
      } catch {
        // The cause may quote the file.
        throw new OmniQError("OMNIQ_CONFIG_INVALID", "The file of the option credentials is not a .creds file");
      }
      options.authenticator = authenticator;
    }
    if (typeof tls === "object")
      for (const name of ["caFile", "certFile", "keyFile"] as const)
        if (tls[name] !== undefined) await readOption(`tls.${name}`, tls[name]);
    if (tls === true) options.tls = {};
    else if (tls === false) options.tls = null;
    else if (tls !== undefined) options.tls = definedOnly(tls);
    return options;
  }

  async #watch(nats: NatsConnection): Promise<void> {
    for await (const status of nats.status()) {
      const { type } = status;
      if (type === "error" && status.error instanceof PermissionViolationError) {
        // The server says nothing to the request itself, which would wait in vain.
        const { subject } = status.error;
        for (const [fail, asked] of [...this.#broken]) if (asked === subject) fail(status.error);
      } else if (type === "disconnect") {
        this.#away = true;
        this.#break();
      } else if (type === "reconnect") {
        this.#away = false;
        for (const listener of [...this.#returned]) listener();
      }
    }
    // The client gave up, as it does when credentials are refused; the next call connects anew.
    if (this.#closed || this.#options.given.connection !== undefined) return;
    this.#break();
    this.#opening = undefined;
    void this.#reopen();
  }

  /** Those who only listen need a connection too. */
  async #reopen(): Promise<void> {
    while (!this.#closed && this.#returned.size > 0) {
      try {
        await this.open();
        for (const listener of [...this.#returned]) listener();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
      }
    }
  }

  #break(): void {
    for (const fail of [...this.#broken.keys()]) fail(natsFailure(new Error("disconnected"), "A request under way"));
  }
}

const isTimeout = (error: unknown): boolean => error instanceof Error && error.name === "TimeoutError";
const isNoResponders = (error: unknown): boolean => error instanceof RequestError && error.isNoResponders();

async function readOption(name: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = (cause as { readonly code?: string }).code ?? "no code";
    throw new OmniQError("OMNIQ_CONFIG_INVALID", `The file of the option ${name} can't be read (${code})`);
  }
}

function definedOnly<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}
