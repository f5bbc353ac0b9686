// Options of the Google Cloud Storage store: what they are called, what they are called elsewhere, and the checks.
import { OmniQError } from "@omniq/core";
import { checkStorePrefix, isHttpUrl, type ReadStorageOptions, readStorageOptions, readStoreUrl } from "@omniq/file";
import type { Storage } from "@google-cloud/storage";

/**
 * The options of a store that a configuration may give as `storageOptions`. Names are those of the SDK; snake_case and the names of
 * fsspec's gcsfs are understood too. Credentials that are not given come from the SDK's own chain: `GOOGLE_APPLICATION_CREDENTIALS`, the
 * gcloud tool, the metadata server.
 */
export interface GcsStorageOptions {
  /** The file of a service account's key. */
  readonly keyFilename?: string | undefined;
  /** The content of such a file, as an object. */
  readonly credentials?: Readonly<Record<string, unknown>> | undefined;
  /** Sends no credentials, for emulators. Default: true where an `apiEndpoint` and no credentials are given. */
  readonly anonymous?: boolean | undefined;
  readonly projectId?: string | undefined;
  /** The project that pays, for buckets where the requester does. */
  readonly userProject?: string | undefined;
  /** Another service than `https://storage.googleapis.com`. */
  readonly apiEndpoint?: string | undefined;
  /** How long one request may take, and 1 s more for each 256 KiB that it sends. Default 15,000 milliseconds. */
  readonly timeoutMs?: number | undefined;

  /** gcsfs: the file of a key, its content, `anon`, or `google_default` for the SDK's chain. */
  readonly token?: string | Readonly<Record<string, unknown>> | undefined;
  readonly key_filename?: string | undefined;
  /** gcsfs: `projectId`. */
  readonly project?: string | undefined;
  readonly project_id?: string | undefined;
  readonly user_project?: string | undefined;
  /** gcsfs and s3fs: `apiEndpoint`. */
  readonly endpointUrl?: string | undefined;
  readonly endpoint_url?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly api_endpoint?: string | undefined;
  readonly timeout_ms?: number | undefined;
}

/** The options of {@link gcs}. */
export interface GcsOptions extends GcsStorageOptions {
  readonly bucket: string;
  /** A folder inside the bucket, made of letters, digits and `!_.*'()=-`. Default: the bucket's root. */
  readonly prefix?: string | undefined;
  /** Your own client in place of options for one: its credentials and endpoint are used. */
  readonly client?: Storage | undefined;
}

/** Merged into what `storageOptions` may be for `gs://` and `gcs://` URLs. */
declare module "@omniq/file" {
  interface ObjectStoreOptions {
    gs: GcsStorageOptions;
    gcs: GcsStorageOptions;
  }
}

const table = {
  keyFilename: { kind: "string" },
  credentials: { kind: "object" },
  anonymous: { kind: "boolean", aliases: ["anon"] },
  projectId: { kind: "string", aliases: ["project"] },
  userProject: { kind: "string" },
  apiEndpoint: { kind: "string", aliases: ["endpointUrl", "endpoint"] },
  timeoutMs: { kind: "integer" },
} as const;

/** Options after the checks. */
export interface CheckedOptions extends ReadStorageOptions<typeof table> {
  readonly bucket: string;
  /** Empty, or ended by `/`. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly client: Storage | undefined;
}

const defaultTimeoutMs = 15_000;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: GcsOptions): CheckedOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('they must be an object such as { bucket: "orders" }');
  const { bucket, prefix = "", client, ...storageOptions } = options;
  if (typeof prefix !== "string") throw invalid("prefix must be a text");
  return check(bucket, checkStorePrefix(prefix, "Google Cloud Storage"), storageOptions, client);
}

/** Reads `gs://bucket/prefix` and the `storageOptions` of a configuration. Throws `OMNIQ_CONFIG_INVALID`. */
export function checkUrl(url: string, storageOptions: unknown): CheckedOptions {
  const { container, prefix } = readStoreUrl(url, "Google Cloud Storage");
  return check(container, prefix, storageOptions, undefined);
}

function check(bucket: string, prefix: string, storageOptions: unknown, client: Storage | undefined): CheckedOptions {
  const read = readStorageOptions(withoutToken(storageOptions), table, "Google Cloud Storage");
  // Source of the rule: "Bucket naming requirements" of the Cloud Storage documentation.
  if (typeof bucket !== "string" || !/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(bucket))
    throw invalid("bucket must be at least 3 lower-case letters, digits, dots, hyphens and underscores");
  const { keyFilename, credentials, anonymous, apiEndpoint } = read;
  const ways = Object.entries({ keyFilename, credentials, anonymous: anonymous === true ? true : undefined }).filter(
    ([, value]) => value !== undefined,
  );
  if (ways.length > 1)
    throw invalid(`${ways.map(([name]) => name).join(" and ")} exclude each other: give one of them`);
  if (apiEndpoint !== undefined && !isHttpUrl(apiEndpoint))
    throw invalid("apiEndpoint must be a URL such as https://storage.googleapis.com");
  if (client !== undefined) {
    if (typeof client?.authClient?.getRequestHeaders !== "function")
      throw invalid("client must be a Storage of @google-cloud/storage");
    const other = Object.keys(read).find((name) => name !== "timeoutMs" && name !== "userProject");
    if (other !== undefined) throw invalid(`client and ${other} exclude each other: the client has its own`);
  }
  return { ...read, bucket, prefix, client, timeoutMs: read.timeoutMs ?? defaultTimeoutMs };
}

/** gcsfs's `token` is one word for several things: each gets its own name. */
function withoutToken(given: unknown): unknown {
  if (typeof given !== "object" || given === null) return given;
  const { token, ...rest } = given as { readonly token?: unknown };
  if (token === undefined || token === null || token === "google_default") return rest;
  if (token === "anon") return { anonymous: true, ...rest };
  if (typeof token === "object") return { credentials: token, ...rest };
  if (typeof token === "string" && token !== "" && !["cloud", "browser", "cache"].includes(token))
    return { keyFilename: token, ...rest };
  throw invalid('token must be the path of a key file, its content, "anon" or "google_default"');
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the Google Cloud Storage store can't be used: ${what}`);
}
