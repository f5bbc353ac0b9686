// Options of the S3 store: what they are called, what they are called elsewhere, and the checks.
import { OmniQError } from "@omniq/core";
import { checkStorePrefix, isHttpUrl, type ReadStorageOptions, readStorageOptions, readStoreUrl } from "@omniq/file";
import type { S3Client } from "@aws-sdk/client-s3";

/**
 * The options of a store that a configuration may give as `storageOptions`. Names are those of the AWS SDK; snake_case and the names of
 * fsspec's s3fs are understood too. Credentials that are not given come from the SDK's own chain: environment, shared files, SSO,
 * container and instance roles.
 */
export interface S3StorageOptions {
  /** `eu-central-1`. Default: the SDK's (`AWS_REGION`, the profile); `us-east-1` where an `endpoint` is given. */
  readonly region?: string | undefined;
  /** Another service than AWS: `https://<account>.r2.cloudflarestorage.com`, `http://localhost:9000`. */
  readonly endpoint?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  readonly sessionToken?: string | undefined;
  /** A profile of the shared AWS files. */
  readonly profile?: string | undefined;
  /** `https://endpoint/bucket` in place of `https://bucket.endpoint`. Default: true where an `endpoint` is given. */
  readonly forcePathStyle?: boolean | undefined;
  /** How long one request may take, and 1 s more for each 256 KiB that it sends. Default 15,000 milliseconds. */
  readonly timeoutMs?: number | undefined;

  /** s3fs: `accessKeyId`. */
  readonly key?: string | undefined;
  /** s3fs: `secretAccessKey`. */
  readonly secret?: string | undefined;
  /** s3fs: `sessionToken`. */
  readonly token?: string | undefined;
  /** s3fs: `endpoint`. */
  readonly endpointUrl?: string | undefined;
  readonly endpoint_url?: string | undefined;
  /** boto: `region`. */
  readonly regionName?: string | undefined;
  readonly region_name?: string | undefined;
  readonly access_key_id?: string | undefined;
  readonly secret_access_key?: string | undefined;
  readonly session_token?: string | undefined;
  /** boto: `accessKeyId`, `secretAccessKey`, `sessionToken`. */
  readonly aws_access_key_id?: string | undefined;
  readonly aws_secret_access_key?: string | undefined;
  readonly aws_session_token?: string | undefined;
  readonly force_path_style?: boolean | undefined;
  readonly timeout_ms?: number | undefined;
}

/** The options of {@link s3}. */
export interface S3Options extends S3StorageOptions {
  readonly bucket: string;
  /** A folder inside the bucket, made of letters, digits and `!_.*'()=-`. Default: the bucket's root. */
  readonly prefix?: string | undefined;
  /** Your own client in place of options for one. It is never closed. Conditional writes are sent with its own retries. */
  readonly client?: S3Client | undefined;
}

/** Merged into what `storageOptions` may be for `s3://` URLs. */
declare module "@omniq/file" {
  interface ObjectStoreOptions {
    s3: S3StorageOptions;
  }
}

const table = {
  region: { kind: "string", aliases: ["regionName"] },
  endpoint: { kind: "string", aliases: ["endpointUrl"] },
  accessKeyId: { kind: "string", aliases: ["key", "aws_access_key_id"] },
  secretAccessKey: { kind: "secret", aliases: ["secret", "aws_secret_access_key"] },
  sessionToken: { kind: "secret", aliases: ["token", "aws_session_token"] },
  profile: { kind: "string" },
  forcePathStyle: { kind: "boolean" },
  timeoutMs: { kind: "integer" },
} as const;

/** Options after the checks. */
export interface CheckedOptions extends ReadStorageOptions<typeof table> {
  readonly bucket: string;
  /** Empty, or ended by `/`. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly client: S3Client | undefined;
}

const defaultTimeoutMs = 15_000;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: S3Options): CheckedOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('they must be an object such as { bucket: "orders" }');
  const { bucket, prefix = "", client, ...storageOptions } = options;
  if (typeof prefix !== "string") throw invalid("prefix must be a text");
  return check(bucket, checkStorePrefix(prefix, "S3"), storageOptions, client);
}

/** Reads `s3://bucket/prefix` and the `storageOptions` of a configuration. Throws `OMNIQ_CONFIG_INVALID`. */
export function checkUrl(url: string, storageOptions: unknown): CheckedOptions {
  const { container, prefix } = readStoreUrl(url, "S3");
  return check(container, prefix, storageOptions, undefined);
}

function check(bucket: string, prefix: string, storageOptions: unknown, client: S3Client | undefined): CheckedOptions {
  const read = readStorageOptions(storageOptions, table, "S3");
  // Source of the rule: "General purpose bucket naming rules" of the Amazon S3 documentation.
  if (typeof bucket !== "string" || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket))
    throw invalid("bucket must be 3 to 63 lower-case letters, digits, dots and hyphens");
  // Directory buckets list in no order and know no start of a list.
  if (bucket.endsWith("--x-s3"))
    throw invalid("bucket is a directory bucket, whose lists have no order; use a general purpose bucket");
  if ((read.accessKeyId === undefined) !== (read.secretAccessKey === undefined))
    throw invalid("accessKeyId and secretAccessKey go together: give both, or neither for the SDK's own chain");
  if (read.sessionToken !== undefined && read.accessKeyId === undefined)
    throw invalid("sessionToken needs accessKeyId and secretAccessKey");
  if (read.endpoint !== undefined && !isHttpUrl(read.endpoint))
    throw invalid("endpoint must be a URL such as https://storage.example.com");
  if (client !== undefined) {
    if (typeof client?.send !== "function") throw invalid("client must be an S3Client of @aws-sdk/client-s3");
    const other = Object.keys(read).find((name) => name !== "timeoutMs");
    if (other !== undefined) throw invalid(`client and ${other} exclude each other: the client has its own`);
  }
  return { ...read, bucket, prefix, client, timeoutMs: read.timeoutMs ?? defaultTimeoutMs };
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the S3 store can't be used: ${what}`);
}
