// Options of the Azure store: what they are called, what they are called elsewhere, and the checks.
import { OmniQError } from "@omniq/core";
import { checkStorePrefix, isHttpUrl, type ReadStorageOptions, readStorageOptions, readStoreUrl } from "@omniq/file";
import type { ContainerClient } from "@azure/storage-blob";

/**
 * The options of a store that a configuration may give as `storageOptions`: a connection string, or an account with a key, a shared access
 * signature, a service principal, or nothing, which means the SDK's own chain (`DefaultAzureCredential`: environment, workload and
 * managed identity, developer tools). snake_case and the names of fsspec's adlfs are understood too.
 */
export interface AzureStorageOptions {
  /** All in one: account, key or signature, endpoint. */
  readonly connectionString?: string | undefined;
  /** Default: `AZURE_STORAGE_ACCOUNT_NAME`; the URL where it names one (`abfs://container@account.dfs.core.windows.net`). */
  readonly accountName?: string | undefined;
  readonly accountKey?: string | undefined;
  /** A shared access signature that allows reading, adding, writing, deleting and listing. */
  readonly sasToken?: string | undefined;
  /** A service principal: all three together. */
  readonly tenantId?: string | undefined;
  readonly clientId?: string | undefined;
  readonly clientSecret?: string | undefined;
  /** Another endpoint than `https://<account>.blob.core.windows.net`: `http://127.0.0.1:10000/devstoreaccount1`. */
  readonly endpoint?: string | undefined;
  /** How long one request may take, and 1 s more for each 256 KiB that it sends. Default 15,000 milliseconds. */
  readonly timeoutMs?: number | undefined;

  readonly connection_string?: string | undefined;
  readonly account_name?: string | undefined;
  readonly account_key?: string | undefined;
  readonly sas_token?: string | undefined;
  readonly tenant_id?: string | undefined;
  readonly client_id?: string | undefined;
  readonly client_secret?: string | undefined;
  /** s3fs's word for `endpoint`. */
  readonly endpointUrl?: string | undefined;
  readonly endpoint_url?: string | undefined;
  /** adlfs: the host of the endpoint, without `https://`. */
  readonly accountHost?: string | undefined;
  readonly account_host?: string | undefined;
  readonly timeout_ms?: number | undefined;
}

/** The options of {@link azure}. */
export interface AzureOptions extends AzureStorageOptions {
  readonly container: string;
  /** A folder inside the container, made of letters, digits and `!_.*'()=-`. Default: the container's root. */
  readonly prefix?: string | undefined;
  /** Your own client of the container in place of options for one. Conditional writes are sent with its own retries. */
  readonly client?: ContainerClient | undefined;
}

/** Merged into what `storageOptions` may be for `az://`, `abfs://` and `abfss://` URLs. */
declare module "@omniq/file" {
  interface ObjectStoreOptions {
    az: AzureStorageOptions;
    abfs: AzureStorageOptions;
    abfss: AzureStorageOptions;
  }
}

const table = {
  connectionString: { kind: "secret" },
  accountName: { kind: "string" },
  accountKey: { kind: "secret" },
  sasToken: { kind: "secret" },
  tenantId: { kind: "string" },
  clientId: { kind: "string" },
  clientSecret: { kind: "secret" },
  endpoint: { kind: "string", aliases: ["endpointUrl"] },
  accountHost: { kind: "string" },
  timeoutMs: { kind: "integer" },
} as const;

/** Options after the checks. */
export interface CheckedOptions extends ReadStorageOptions<typeof table> {
  readonly container: string;
  /** Empty, or ended by `/`. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly client: ContainerClient | undefined;
}

const defaultTimeoutMs = 15_000;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: AzureOptions): CheckedOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('they must be an object such as { container: "orders" }');
  const { container, prefix = "", client, ...storageOptions } = options;
  if (typeof prefix !== "string") throw invalid("prefix must be a text");
  return check(container, checkStorePrefix(prefix, "Azure"), storageOptions, client);
}

/**
 * Reads `az://container/prefix`, or `abfs://container@account.dfs.core.windows.net/prefix`, and the `storageOptions` of a configuration.
 * Throws `OMNIQ_CONFIG_INVALID`.
 */
export function checkUrl(url: string, storageOptions: unknown): CheckedOptions {
  const { container: authority, prefix } = readStoreUrl(url, "Azure");
  const at = authority.indexOf("@");
  if (at < 0) return check(authority, prefix, storageOptions, undefined);
  const accountName = authority.slice(at + 1).split(".")[0];
  return check(authority.slice(0, at), prefix, { accountName, ...(storageOptions as object) }, undefined);
}

function check(
  container: string,
  prefix: string,
  storageOptions: unknown,
  client: ContainerClient | undefined,
): CheckedOptions {
  const read = readStorageOptions(storageOptions, table, "Azure");
  // Source of the rule: "Naming and referencing containers, blobs, and metadata" of the Azure Storage documentation.
  if (typeof container !== "string" || !/^(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*$/.test(container))
    throw invalid("container must be 3 to 63 lower-case letters, digits and single hyphens");
  const { connectionString, accountKey, sasToken, tenantId, clientId, clientSecret, endpoint, accountHost } = read;
  const ways = Object.entries({ connectionString, accountKey, sasToken, clientSecret }).filter(
    ([, value]) => value !== undefined,
  );
  if (ways.length > 1)
    throw invalid(`${ways.map(([name]) => name).join(" and ")} exclude each other: give one of them`);
  if (clientSecret !== undefined && (tenantId === undefined || clientId === undefined))
    throw invalid("clientSecret needs tenantId and clientId");
  if (connectionString !== undefined && (endpoint ?? accountHost) !== undefined)
    throw invalid("connectionString holds the endpoint: leave endpoint out");
  if (endpoint !== undefined && !isHttpUrl(endpoint))
    throw invalid("endpoint must be a URL such as https://account.blob.core.windows.net");
  if (client !== undefined) {
    if (typeof client?.getBlockBlobClient !== "function")
      throw invalid("client must be a ContainerClient of @azure/storage-blob");
    const other = Object.keys(read).find((name) => name !== "timeoutMs");
    if (other !== undefined) throw invalid(`client and ${other} exclude each other: the client has its own`);
  }
  return { ...read, container, prefix, client, timeoutMs: read.timeoutMs ?? defaultTimeoutMs };
}

/** Complains about options of this store. */
export function invalid(what: string, cause?: unknown): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the Azure store can't be used: ${what}`, { cause });
}
