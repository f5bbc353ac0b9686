// Requests to Google Cloud Storage with the SDK's credentials and endpoint.
// The SDK's own object calls hide the answers' `Date`, and its reads, being of the JSON API, carry no `Last-Modified`: so objects are read
// and written by the XML API, which tells both, and listed by the JSON API.
import { readFile } from "node:fs/promises";
import { Storage } from "@google-cloud/storage";
import { OmniQError } from "@omniq/core";
import { plainCause, readHttpDate, RequestLimits, type StoreFailure, type StoreNames, storeError } from "@omniq/file";
import type { CheckedOptions } from "./options.ts";

export interface GcsAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** The `Date` of the answer in epoch milliseconds. */
  readonly date: number | undefined;
}
export interface GcsRequest {
  readonly method: "GET" | "PUT" | "DELETE";
  /** From the endpoint on, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: Uint8Array | undefined;
  /** A larger answer has an empty body. */
  readonly maxBytes?: number | undefined;
}

/** What is asked of the SDK: where, and with whose name. */
interface Access {
  readonly endpoint: string;
  authorization(url: string): Promise<Readonly<Record<string, string>>>;
}

export class GcsClient {
  readonly #options: CheckedOptions;
  readonly #limits: RequestLimits = new RequestLimits();
  #access: Promise<Access> | undefined;
  #closed = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
  }

  /**
   * Sends a request. Resolves with any answer below 300, and with the statuses in `expected`; rejects with the failure as an error.
   * `onFailure` sees the failure first, and may turn it into a value.
   */
  async send<T>(
    request: GcsRequest,
    read: (answer: GcsAnswer) => T,
    onFailure: (failure: StoreFailure, date: number | undefined) => T | undefined = () => undefined,
  ): Promise<T> {
    const { timeoutMs, userProject } = this.#options;
    const { endpoint, authorization } = await (this.#access ??= makeAccess(this.#options));
    const url = endpoint + request.path;
    let answer: GcsAnswer;
    try {
      const bytes = request.body?.byteLength ?? 0;
      const sent = await fetch(url, {
        method: request.method,
        headers: {
          ...(await this.#authorize(() => authorization(url))),
          ...(userProject !== undefined && { "x-goog-user-project": userProject }),
          ...request.headers,
        },
        ...(request.body !== undefined && { body: request.body as Uint8Array<ArrayBuffer> }),
        redirect: "error",
        signal: this.#limits.signal(timeoutMs + Math.ceil(bytes / 262_144) * 1_000),
      });
      const isTooLarge =
        Number(sent.headers.get("content-length") ?? 0) > (request.maxBytes ?? Number.POSITIVE_INFINITY);
      if (isTooLarge) await sent.body?.cancel();
      const body = isTooLarge ? new Uint8Array(0) : new Uint8Array(await sent.arrayBuffer());
      answer = { status: sent.status, headers: sent.headers, body, date: readHttpDate(sent.headers.get("date")) };
    } catch (cause) {
      return this.#fail({ cause }, undefined, onFailure);
    }
    if (answer.status < 300) return read(answer);
    const code = codeOf(answer);
    // The JSON API says of some limits of rate that they are forbidden.
    const status = code === "rateLimitExceeded" || code === "userRateLimitExceeded" ? 429 : answer.status;
    const cause = new Error(`Google Cloud Storage answered ${answer.status}${code === undefined ? "" : ` ${code}`}`);
    return this.#fail({ status, code, cause }, answer.date, onFailure);
  }

  /** Ends the requests under way. */
  close(): void {
    this.#closed = true;
    this.#limits.close();
  }

  #fail<T>(
    failure: StoreFailure,
    date: number | undefined,
    onFailure: (failure: StoreFailure, date: number | undefined) => T | undefined,
  ): T {
    if (this.#closed) throw closedError(this.#options);
    const value = onFailure(failure, date);
    if (value !== undefined) return value;
    throw storeError(failure, namesOf(this.#options));
  }

  async #authorize(ask: () => Promise<Readonly<Record<string, string>>>): Promise<Readonly<Record<string, string>>> {
    try {
      return await ask();
    } catch (cause) {
      if (isOffline(cause)) throw cause;
      throw new OmniQError(
        "OMNIQ_CONFIG_INVALID",
        `No credentials for Google Cloud Storage bucket "${this.#options.bucket}" could be had: give keyFilename or credentials, set ` +
          "GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
        { cause: plainCause(cause, secretsOf(this.#options)) },
      );
    }
  }
}

async function makeAccess(options: CheckedOptions): Promise<Access> {
  const { keyFilename, credentials, projectId, apiEndpoint, client } = options;
  if (keyFilename !== undefined) {
    await readFile(keyFilename).catch((cause: unknown) => {
      throw new OmniQError("OMNIQ_CONFIG_INVALID", `keyFilename ${keyFilename} can't be read`, {
        cause: plainCause(cause),
      });
    });
  }
  const storage =
    client ??
    new Storage({
      ...(keyFilename !== undefined && { keyFilename }),
      ...(credentials !== undefined && { credentials }),
      ...(projectId !== undefined && { projectId }),
      ...(apiEndpoint !== undefined && { apiEndpoint }),
    });
  // As in the SDK: who names another endpoint and no credentials talks to an emulator.
  const emulator = storage.customEndpoint && storage.useAuthWithCustomEndpoint !== true;
  const anonymous = options.anonymous ?? (emulator && keyFilename === undefined && credentials === undefined);
  return {
    endpoint: storage.apiEndpoint.replace(/\/+$/, ""),
    authorization: anonymous ? async () => ({}) : (url) => storage.authClient.getRequestHeaders(url),
  };
}

/** A token that could not be fetched for want of a connection says nothing of the credentials. */
function isOffline(error: unknown): boolean {
  const { code, status } = error as { readonly code?: unknown; readonly status?: number };
  return (
    (typeof code === "string" &&
      /^(ECONN[A-Z]+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE|EHOSTUNREACH|ENETUNREACH)$/.test(code)) ||
    (typeof status === "number" && (status >= 500 || status === 429))
  );
}

/** The word for an error: `<Code>` of the XML API, `reason` of the JSON API. */
function codeOf(answer: GcsAnswer): string | undefined {
  const text = new TextDecoder().decode(answer.body.subarray(0, 10_000));
  return /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? /"reason":\s*"(\w+)"/.exec(text)?.[1];
}

/** Every text of the credentials but what names them. */
function secretsOf({ credentials }: CheckedOptions): StoreNames["secrets"] {
  return Object.entries(credentials ?? {}).flatMap(([name, value]) =>
    typeof value === "string" && /key|secret|token|password/i.test(name) ? value : [],
  );
}
export function closedError({ bucket }: CheckedOptions): OmniQError {
  return new OmniQError("OMNIQ_CLOSED", `The store in Google Cloud Storage bucket "${bucket}" is closed`);
}

/** The words of messages about this bucket. */
export function namesOf(options: CheckedOptions): StoreNames {
  const { bucket } = options;
  return {
    store: "Google Cloud Storage",
    container: `bucket "${bucket}"`,
    missing: {
      codes: ["NoSuchBucket"],
      advice: `make it with \`gcloud storage buckets create gs://${bucket}\`, or correct the name`,
    },
    secrets: secretsOf(options),
    permissions: "storage.objects.get, create, delete and list (the role Storage Object User)",
  };
}
