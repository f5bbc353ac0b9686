// The object store in an Azure container: block blobs, conditional writes by If-None-Match and If-Match.
// Source of statuses: "Specifying conditional headers for Blob service operations" and "Blob Storage error codes" of the Azure documentation.
import type { BlobItem, ContainerClient } from "@azure/storage-blob";
import { OmniQError } from "@omniq/core";
import {
  type CreateAnswer,
  forEachLimited,
  isPassing,
  type ListAnswer,
  type ListedObject,
  type ObjectStore,
  type ReadAnswer,
  readHttpDate,
  repeatCall,
  type ReplaceAnswer,
  RequestLimits,
  storeError,
  wasSent,
} from "@omniq/file";
import { failureOf, makeClient, namesOf } from "./client.ts";
import type { CheckedOptions } from "./options.ts";

/** There is no request for many deletes that all kinds of credentials may send; single ones cost nothing. */
const deletesAtOnce = 16;
const maxListed = 5_000;

/** An Azure container, or a prefix of one. Revisions are ETags, which change with every write. */
export class AzureStore implements ObjectStore {
  readonly #options: CheckedOptions;
  readonly #prefix: string;
  #client: Promise<ContainerClient> | undefined;
  readonly #limits: RequestLimits = new RequestLimits();
  #closed = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#prefix = options.prefix;
  }

  async read(key: string, maxBytes: number = Number.POSITIVE_INFINITY): Promise<ReadAnswer> {
    const client = await this.#open();
    return await repeatCall(async () => {
      try {
        const answer = await client
          .getBlobClient(this.#prefix + key)
          .download(0, undefined, { abortSignal: this.#limit(0) });
        const chunks: Buffer[] = [];
        if ((answer.contentLength ?? 0) > maxBytes)
          (answer.readableStreamBody as { destroy?(): void } | undefined)?.destroy?.();
        else for await (const chunk of answer.readableStreamBody ?? []) chunks.push(chunk as Buffer);
        return {
          object: {
            body: Buffer.concat(chunks),
            revision: answer.etag ?? "",
            lastModified: answer.lastModified?.getTime(),
          },
          date: answer.date?.getTime(),
        };
      } catch (error) {
        const failure = this.#failure(error);
        if (failure.status === 404 && failure.code === "BlobNotFound")
          return { object: undefined, date: readHttpDate(failure.date) };
        throw storeError(failure, namesOf(this.#options));
      }
    });
  }

  async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    const { state, ...rest } = await this.#put(key, body, { ifNoneMatch: "*" });
    return { state: state === "written" ? "created" : state === "refused" ? "exists" : "unknown", ...rest };
  }

  async replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer> {
    const { state, ...rest } = await this.#put(key, body, { ifMatch: revision });
    return { state: state === "written" ? "replaced" : state === "refused" ? "conflict" : "unknown", ...rest };
  }

  async delete(keys: readonly string[]): Promise<void> {
    const client = await this.#open();
    await forEachLimited(keys, deletesAtOnce, (key) =>
      repeatCall(async () => {
        try {
          await client.getBlobClient(this.#prefix + key).delete({ abortSignal: this.#limit(0) });
        } catch (error) {
          const failure = this.#failure(error);
          if (failure.status !== 404 || failure.code !== "BlobNotFound")
            throw storeError(failure, namesOf(this.#options));
        }
      }),
    );
  }

  async list(prefix: string, after?: string, limit: number = Infinity): Promise<ListAnswer> {
    const client = await this.#open();
    const objects: ListedObject[] = [];
    let date: number | undefined;
    let token: string | undefined;
    let first = true;
    do {
      const page = await repeatCall(() => this.#page(client, prefix, after, token, limit - objects.length));
      // Of several pages the first one's time counts: the list is as old as its oldest part.
      if (first) date = page.date;
      first = false;
      objects.push(...page.objects);
      token = page.token;
    } while (token !== undefined && objects.length < limit);
    return { objects: objects.slice(0, limit), date };
  }

  async close(): Promise<void> {
    // The SDK's connections are the process's own and end by themselves.
    this.#closed = true;
    this.#limits.close();
  }

  async #page(
    client: ContainerClient,
    prefix: string,
    after: string | undefined,
    token: string | undefined,
    wanted: number,
  ): Promise<ListAnswer & { readonly token: string | undefined }> {
    const options = {
      prefix: this.#prefix + prefix,
      abortSignal: this.#limit(0),
      // Inclusive, and unknown to older services, which then answer from the beginning: what is not after is left out here.
      ...(after !== undefined && { startFrom: this.#prefix + after }),
    };
    // One more than wanted, for the one that is left out.
    const maxPageSize = Math.min(wanted + 1, maxListed);
    try {
      const { value } = await client
        .listBlobsFlat(options)
        .byPage({ maxPageSize, ...(token !== undefined && { continuationToken: token }) })
        .next();
      const items: readonly BlobItem[] = value?.segment.blobItems ?? [];
      return {
        objects: items
          .map(({ name, properties }) => ({
            key: name.slice(this.#prefix.length),
            lastModified: properties.lastModified?.getTime(),
          }))
          .filter(({ key }) => after === undefined || key > after),
        date: value?.date?.getTime(),
        token: value?.continuationToken === "" ? undefined : value?.continuationToken,
      };
    } catch (error) {
      throw storeError(this.#failure(error), namesOf(this.#options));
    }
  }

  async #put(
    key: string,
    body: Uint8Array,
    conditions: { readonly ifNoneMatch: string } | { readonly ifMatch: string },
  ): Promise<{
    readonly state: "written" | "refused" | "unknown";
    readonly date: number | undefined;
    readonly cause?: unknown;
    readonly wasSent?: boolean;
  }> {
    const client = await this.#open();
    try {
      const { date } = await client.getBlockBlobClient(this.#prefix + key).upload(body, body.byteLength, {
        conditions,
        blobHTTPHeaders: { blobContentType: "application/octet-stream" },
        abortSignal: this.#limit(body.byteLength),
      });
      return { state: "written", date: date?.getTime() };
    } catch (error) {
      const failure = this.#failure(error);
      const { status, code } = failure;
      const date = readHttpDate(failure.date);
      if (
        (status === 412 && code !== "LeaseIdMissing") ||
        (status === 409 && code === "BlobAlreadyExists") ||
        (status === 404 && code === "BlobNotFound" && "ifMatch" in conditions)
      )
        return { state: "refused", date };
      if (isPassing(failure)) {
        const cause = storeError(failure, namesOf(this.#options));
        return { state: "unknown", date, cause, wasSent: status !== undefined || wasSent(error) };
      }
      throw storeError(failure, namesOf(this.#options));
    }
  }

  #open(): Promise<ContainerClient> {
    if (this.#closed) throw this.#closedError();
    return (this.#client ??=
      this.#options.client === undefined ? makeClient(this.#options) : Promise.resolve(this.#options.client));
  }
  #closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The store in Azure container "${this.#options.container}" is closed`);
  }
  #failure(error: unknown): ReturnType<typeof failureOf> {
    if (this.#closed) throw this.#closedError();
    return failureOf(error, this.#options);
  }
  #limit(bytes: number): AbortSignal {
    return this.#limits.signal(this.#options.timeoutMs + Math.ceil(bytes / 262_144) * 1_000);
  }
}
