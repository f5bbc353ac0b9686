// What a failed request to a store over HTTP means: try again, unknown, or an error with a clear message.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, OmniQError } from "@omniq/core";

/** How a request failed, as the store's client tells it. */
export interface StoreFailure {
  /** The HTTP status, or undefined where no answer came. */
  readonly status?: number | undefined;
  /** The store's own word: `NoSuchBucket`, `ContainerNotFound`. */
  readonly code?: string | undefined;
  readonly cause: unknown;
}

/** What messages need to know of a store. */
export interface StoreNames {
  /** `S3`, `Azure Blob Storage` */
  readonly store: string;
  /** `bucket "orders"` */
  readonly container: string;
  /** Codes that say that the container is missing, and how to make it. */
  readonly missing: { readonly codes: readonly string[]; readonly advice: string };
  /** What a caller must be allowed to do. */
  readonly permissions: string;
  /** Texts that must not stand in any error. */
  readonly secrets?: readonly (string | undefined)[] | undefined;
}

/** No answer, or one that says that another try may go better: what was asked may have been done or not. */
export function isPassing({ status }: StoreFailure): boolean {
  return (
    status === undefined ||
    status === 408 ||
    status === 425 ||
    status === 429 ||
    (status >= 500 && status !== 501 && status !== 507)
  );
}

/** The error that a caller gets. Bodies, keys of accounts and signed URLs never stand in it. */
export function storeError(failure: StoreFailure, names: StoreNames): OmniQError {
  const { status, code } = failure;
  if (isOmniQError(failure.cause)) return failure.cause;
  const cause = plainCause(failure.cause, names.secrets);
  const { store, container, missing, permissions } = names;
  const answer = `${status ?? "no answer"}${code === undefined ? "" : ` ${code}`}`;
  if (isPassing(failure)) {
    const what = status === undefined ? `${store} did not answer` : `${store} can't serve ${container} now`;
    return new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", `${what} (${answer}); the call may be repeated`, { cause });
  }
  if (status === 507 || code === "QuotaExceeded" || code === "XMinioStorageFull")
    return new OmniQError("OMNIQ_BACKEND_FULL", `${store} has no room left for ${container} (${answer})`, { cause });
  if (code !== undefined && missing.codes.includes(code))
    return new OmniQError("OMNIQ_BACKEND_FAILED", `The ${container} does not exist in ${store}: ${missing.advice}`, {
      cause,
    });
  if (status === 401 || status === 403) {
    const message = `${store} denied access to ${container} (${answer}): check the credentials, and that they allow ${permissions}`;
    return new OmniQError("OMNIQ_BACKEND_FAILED", message, { cause });
  }
  if (status === 501) {
    const message = `${store} does not know the conditional writes that the log needs (${answer}): this store can't be used`;
    return new OmniQError("OMNIQ_UNSUPPORTED", message, { cause });
  }
  return new OmniQError("OMNIQ_BACKEND_FAILED", `${store} refused a request to ${container} (${answer})`, { cause });
}

const deepestCause = 3;

/** A client's error, reduced to its name, message and code: clients hang requests with signatures, keys and tokens on theirs. */
export function plainCause(cause: unknown, secrets: StoreNames["secrets"] = [], depth: number = deepestCause): Error {
  const { name, message, code, cause: inner } = (cause ?? {}) as Readonly<Record<string, unknown>>;
  const told = typeof message === "string" ? message : String(typeof cause === "object" ? "" : cause);
  const clean = secrets
    .filter((secret) => secret !== undefined && secret !== "")
    .reduce<string>((text, secret) => text.replaceAll(secret as string, "***"), told);
  const isNested = depth > 0 && inner instanceof Error;
  const plain = new Error(clean, isNested ? { cause: plainCause(inner, secrets, depth - 1) } : undefined);
  if (typeof name === "string") plain.name = name;
  return typeof code === "string" ? Object.assign(plain, { code }) : plain;
}

/** Where not even a connection was made, nothing can have been done. */
const unconnected = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
/** False if a request that failed so certainly did not reach its store. */
export function wasSent(failure: unknown, depth: number = deepestCause): boolean {
  if (typeof failure !== "object" || failure === null || depth === 0) return true;
  const { code, cause } = failure as { readonly code?: unknown; readonly cause?: unknown };
  return !(typeof code === "string" && unconnected.has(code)) && wasSent(cause, depth - 1);
}

/** The time limits of a store's requests, which all end when the store closes. */
export class RequestLimits {
  readonly #open = new Map<AbortController, NodeJS.Timeout>();
  #closed = false;

  /** Aborts after this time. Keeps no process alive. */
  signal(ms: number): AbortSignal {
    const controller = new AbortController();
    if (this.#closed) controller.abort();
    const timer = setTimeout(() => {
      this.#open.delete(controller);
      controller.abort(new DOMException("The request took too long", "TimeoutError"));
    }, ms).unref();
    this.#open.set(controller, timer);
    return controller.signal;
  }
  /** Ends what is under way. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const [controller, timer] of this.#open) {
      clearTimeout(timer);
      controller.abort(new DOMException("The store is closed", "AbortError"));
    }
    this.#open.clear();
  }
}

/**
 * Runs a call that may be made twice without harm (a read, a list, a delete) up to `tries` times while it fails in passing, with a pause
 * that doubles and is drawn at random up to its full length. Conditional writes never go through it: their second answer would lie.
 */
export async function repeatCall<T>(call: () => Promise<T>, tries = 4, pauseMs = 100): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await call();
    } catch (error) {
      if (tried >= tries || !isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE")) throw error;
      await sleep(Math.random() * pauseMs * 2 ** (tried - 1));
    }
  }
}

/** Does this for each item, at most `limit` at a time. Rejects with the first error, when all that were begun have ended. */
export async function forEachLimited<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await work(items[next++] as T);
  };
  const ended = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, lane));
  const failed = ended.find((lane) => lane.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** Epoch milliseconds of an HTTP date, or undefined. */
export function readHttpDate(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined) return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
