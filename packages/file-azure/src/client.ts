// The client of the Azure SDK: made from options, and what its errors mean.
import {
  AnonymousCredential,
  type ContainerClient,
  BlobServiceClient,
  StorageSharedKeyCredential,
  type StoragePipelineOptions,
} from "@azure/storage-blob";
import { plainCause, type StoreFailure, type StoreNames } from "@omniq/file";
import { type CheckedOptions, invalid } from "./options.ts";

/**
 * Makes a client of the container. The SDK's chain of credentials loads only where nothing else is given.
 * Rejects with `OMNIQ_CONFIG_INVALID` where no account is known.
 */
export async function makeClient(options: CheckedOptions): Promise<ContainerClient> {
  return (await makeService(options)).getContainerClient(options.container);
}

async function makeService(options: CheckedOptions): Promise<BlobServiceClient> {
  // A conditional write that the SDK sent twice would be told of its own first try: the store says `unknown` and the log decides.
  const pipeline: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };
  const { connectionString, accountKey, sasToken, tenantId, clientId, clientSecret, endpoint, accountHost } = options;
  const { env } = process;
  const givenNothing = [accountKey, sasToken, clientSecret, endpoint, accountHost, options.accountName].every(
    (value) => value === undefined,
  );
  const connection = connectionString ?? (givenNothing ? env["AZURE_STORAGE_CONNECTION_STRING"] : undefined);
  if (connection !== undefined) {
    try {
      return BlobServiceClient.fromConnectionString(connection, pipeline);
    } catch {
      // The cause may quote it.
      throw invalid("connectionString can't be read: copy it from the account's access keys");
    }
  }
  const accountName = options.accountName ?? env["AZURE_STORAGE_ACCOUNT_NAME"];
  if (accountName === undefined && endpoint === undefined && accountHost === undefined)
    throw invalid("accountName is missing: give it, or a connectionString, or set AZURE_STORAGE_ACCOUNT_NAME");
  const url = (
    endpoint ?? (accountHost === undefined ? `https://${accountName}.blob.core.windows.net` : `https://${accountHost}`)
  ).replace(/\/+$/, "");
  if (accountKey !== undefined) {
    if (accountName === undefined) throw invalid("accountKey needs accountName");
    return new BlobServiceClient(url, new StorageSharedKeyCredential(accountName, accountKey), pipeline);
  }
  if (sasToken !== undefined)
    return new BlobServiceClient(`${url}?${sasToken.replace(/^\?/, "")}`, new AnonymousCredential(), pipeline);
  const { ClientSecretCredential, DefaultAzureCredential } = await import("@azure/identity");
  const credential =
    clientSecret !== undefined && tenantId !== undefined && clientId !== undefined
      ? new ClientSecretCredential(tenantId, clientId, clientSecret)
      : new DefaultAzureCredential({
          ...(tenantId !== undefined && { tenantId }),
          ...(clientId !== undefined && { managedIdentityClientId: clientId }),
        });
  return new BlobServiceClient(url, credential, pipeline);
}

/** What the SDK's error says of the request, and the `Date` of the answer where there was one. */
export function failureOf(
  error: unknown,
  options: CheckedOptions,
): StoreFailure & { readonly date?: string | undefined } {
  const { name, statusCode, code, details, response } = error as {
    readonly name?: string;
    readonly statusCode?: number;
    readonly code?: string;
    readonly details?: { readonly errorCode?: string };
    readonly response?: { readonly headers: { get(name: string): string | undefined } };
  };
  if (
    name === "CredentialUnavailableError" ||
    name === "ChainedTokenCredentialError" ||
    name === "AggregateAuthenticationError"
  ) {
    throw invalid(
      `no credentials for container "${options.container}" were found: give accountKey, sasToken or a connectionString, or sign in ` +
        "(managed identity, AZURE_CLIENT_ID and the like, `az login`)",
      plainCause(error, secretsOf(options)),
    );
  }
  if (name === "AuthenticationError") return { status: 401, code: name, cause: error };
  const status = response === undefined ? undefined : statusCode;
  // Without an answer `code` is that of the connection, such as ECONNREFUSED.
  return {
    status,
    code: status === undefined ? undefined : (details?.errorCode ?? code),
    cause: error,
    date: response?.headers.get("date"),
  };
}

function secretsOf({ connectionString, accountKey, sasToken, clientSecret }: CheckedOptions): StoreNames["secrets"] {
  const parts = connectionString
    ?.split(";")
    .map((part) => /^(?:AccountKey|SharedAccessSignature)=(.+)$/i.exec(part)?.[1]);
  const signatures = [sasToken, ...(parts ?? [])].map((token) => /(?:^|[?&])sig=([^&]+)/.exec(token ?? "")?.[1]);
  return [connectionString, accountKey, sasToken, clientSecret, ...(parts ?? []), ...signatures];
}

/** The words of messages about this container. */
export function namesOf(options: CheckedOptions): StoreNames {
  const { container } = options;
  return {
    store: "Azure Blob Storage",
    container: `container "${container}"`,
    missing: {
      codes: ["ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"],
      advice: `make it with \`az storage container create --name ${container}\`, or correct the name`,
    },
    secrets: secretsOf(options),
    permissions: "reading, adding, writing, deleting and listing (the role Storage Blob Data Contributor)",
  };
}
