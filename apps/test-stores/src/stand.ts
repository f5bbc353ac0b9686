// One way to start any of the stand-ins: with its container, its URL, and the options that reach it.
import { createHmac } from "node:crypto";
import { azuriteAccount, azuriteKey, startAzureServer } from "./azure-server.ts";
import { startGcsServer } from "./gcs-server.ts";
import { startS3Server } from "./s3-server.ts";
import type { StoreServer, StoreServerOptions } from "./store-server.ts";

export type StandKind = "s3" | "gcs" | "azure";

/** A stand-in with one container. */
export interface Stand {
  readonly kind: StandKind;
  readonly server: StoreServer;
  /** The store's URL of a prefix: `s3://container/prefix`. */
  readonly url: (prefix: string) => string;
  /** What a configuration gives as `storageOptions`. */
  readonly storageOptions: Readonly<Record<string, string>>;
}

/** Starts one. */
export async function startStand(kind: StandKind, container: string, options: StoreServerOptions = {}): Promise<Stand> {
  if (kind === "s3") {
    const server = await startS3Server({ ...options, buckets: [container] });
    const storageOptions = { endpoint_url: server.url, key: "test", secret: "test" };
    return { kind, server, url: (prefix) => `s3://${container}/${prefix}`, storageOptions };
  }
  if (kind === "gcs") {
    const server = await startGcsServer({ ...options, buckets: [container] });
    return {
      kind,
      server,
      url: (prefix) => `gs://${container}/${prefix}`,
      storageOptions: { endpoint_url: server.url },
    };
  }
  const server = await startAzureServer(options);
  const endpoint = `${server.url}/${azuriteAccount}`;
  await makeContainer(endpoint, container);
  const storageOptions = { endpoint_url: endpoint, account_name: azuriteAccount, account_key: azuriteKey };
  return { kind, server, url: (prefix) => `az://${container}/${prefix}`, storageOptions };
}

/** Makes a container with a signed request of our own, so that tests of other packages need no SDK for it. */
async function makeContainer(endpoint: string, container: string): Promise<void> {
  const date = new Date().toUTCString();
  const version = "2021-12-02";
  // Source: "Authorize with Shared Key" of the Azure Storage documentation. The account stands twice, as it is part of Azurite's path.
  const resource = `/${azuriteAccount}/${azuriteAccount}/${container}\nrestype:container`;
  const text = `PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:${date}\nx-ms-version:${version}\n${resource}`;
  const signature = createHmac("sha256", Buffer.from(azuriteKey, "base64")).update(text).digest("base64");
  const answer = await fetch(`${endpoint}/${container}?restype=container`, {
    method: "PUT",
    headers: {
      Authorization: `SharedKey ${azuriteAccount}:${signature}`,
      "x-ms-date": date,
      "x-ms-version": version,
    },
  });
  if (answer.status !== 201) throw new Error(`azurite made no container: ${answer.status} ${await answer.text()}`);
}
