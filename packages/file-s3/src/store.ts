// The object store in an S3 bucket: conditional writes by If-None-Match and If-Match.
// Source of statuses: "How to prevent object overwrites with conditional writes" of the Amazon S3 documentation.
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { OmniQError } from "@omniq/core";
import {
  type CreateAnswer,
  isPassing,
  type ListAnswer,
  type ListedObject,
  type ObjectStore,
  type ReadAnswer,
  repeatCall,
  type ReplaceAnswer,
  RequestLimits,
  type StoreFailure,
  storeError,
  wasSent,
} from "@omniq/file";
import { failureOf, hearDate, makeClient, namesOf } from "./client.ts";
import type { CheckedOptions } from "./options.ts";

const maxDeleted = 1_000;
const maxListed = 1_000;

/** An S3 bucket, or a prefix of one. Revisions are ETags. */
export class S3Store implements ObjectStore {
  readonly #options: CheckedOptions;
  readonly #bucket: string;
  readonly #prefix: string;
  #client: S3Client | undefined;
  readonly #limits: RequestLimits = new RequestLimits();
  #closed = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#bucket = options.bucket;
    this.#prefix = options.prefix;
    this.#client = options.client;
  }

  async read(key: string, maxBytes: number = Number.POSITIVE_INFINITY): Promise<ReadAnswer> {
    const client = this.#open();
    return await repeatCall(async () => {
      const command = new GetObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key });
      const date = hearDate(command);
      try {
        const answer = await client.send(command, { abortSignal: this.#limit(0) });
        const isTooLarge = (answer.ContentLength ?? 0) > maxBytes;
        if (isTooLarge) (answer.Body as { destroy?(): void } | undefined)?.destroy?.();
        const body = (isTooLarge ? undefined : await answer.Body?.transformToByteArray()) ?? new Uint8Array(0);
        const lastModified = answer.LastModified?.getTime();
        return { object: { body, revision: answer.ETag ?? "", lastModified }, date: date() };
      } catch (error) {
        const failure = this.#failure(error);
        if (failure.status === 404 && failure.code === "NoSuchKey") return { object: undefined, date: date() };
        throw this.#error(failure);
      }
    });
  }

  async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    const { state, ...rest } = await this.#put(key, body, { IfNoneMatch: "*" });
    return { state: state === "written" ? "created" : state === "refused" ? "exists" : "unknown", ...rest };
  }

  async replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer> {
    const { state, ...rest } = await this.#put(key, body, { IfMatch: revision });
    return { state: state === "written" ? "replaced" : state === "refused" ? "conflict" : "unknown", ...rest };
  }

  async delete(keys: readonly string[]): Promise<void> {
    const client = this.#open();
    for (let i = 0; i < keys.length; i += maxDeleted) {
      const Objects = keys.slice(i, i + maxDeleted).map((key) => ({ Key: this.#prefix + key }));
      await repeatCall(async () => {
        const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } });
        const { Errors = [] } = await client.send(command, { abortSignal: this.#limit(0) }).catch((error: unknown) => {
          throw this.#error(this.#failure(error));
        });
        const [first] = Errors;
        if (first !== undefined) {
          const status = first.Code === "AccessDenied" ? 403 : 503;
          throw this.#error({
            status,
            code: first.Code,
            cause: new Error(`${Errors.length} objects were not deleted`),
          });
        }
      });
    }
  }

  async list(prefix: string, after?: string, limit: number = Infinity): Promise<ListAnswer> {
    const client = this.#open();
    const objects: ListedObject[] = [];
    let date: number | undefined;
    let token: string | undefined;
    let first = true;
    do {
      const page = await repeatCall(() =>
        this.#page(client, prefix, after, token, Math.min(limit - objects.length, maxListed)),
      );
      // Of several pages the first one's time counts: the list is as old as its oldest part.
      if (first) date = page.date;
      first = false;
      objects.push(...page.objects);
      token = page.token;
    } while (token !== undefined && objects.length < limit);
    return { objects, date };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#limits.close();
    if (this.#options.client === undefined) this.#client?.destroy();
  }

  async #page(
    client: S3Client,
    prefix: string,
    after: string | undefined,
    token: string | undefined,
    MaxKeys: number,
  ): Promise<ListAnswer & { readonly token: string | undefined }> {
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      MaxKeys,
      ...(after !== undefined && { StartAfter: this.#prefix + after }),
      ...(token !== undefined && { ContinuationToken: token }),
    });
    const date = hearDate(command);
    try {
      const {
        Contents = [],
        IsTruncated,
        NextContinuationToken,
      } = await client.send(command, { abortSignal: this.#limit(0) });
      return {
        objects: Contents.map(({ Key = "", LastModified }) => ({
          key: Key.slice(this.#prefix.length),
          lastModified: LastModified?.getTime(),
        })),
        date: date(),
        token: IsTruncated === true ? NextContinuationToken : undefined,
      };
    } catch (error) {
      throw this.#error(this.#failure(error));
    }
  }

  async #put(
    key: string,
    body: Uint8Array,
    condition: { readonly IfNoneMatch: string } | { readonly IfMatch: string },
  ): Promise<{
    readonly state: "written" | "refused" | "unknown";
    readonly date: number | undefined;
    readonly cause?: unknown;
    readonly wasSent?: boolean;
  }> {
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      Body: body,
      ContentType: "application/octet-stream",
      ...condition,
    });
    const date = hearDate(command);
    const client = this.#open();
    try {
      await client.send(command, { abortSignal: this.#limit(body.byteLength) });
      return { state: "written", date: date() };
    } catch (error) {
      const failure = this.#failure(error);
      const { status, code } = failure;
      // 404 with a condition on a revision: what was to be replaced is not there.
      if (status === 412 || (status === 404 && code === "NoSuchKey" && "IfMatch" in condition))
        return { state: "refused", date: date() };
      // 409 ConditionalRequestConflict: another write or delete of the name was under way, and nobody can say who came first.
      if (isPassing(failure) || status === 409)
        return {
          state: "unknown",
          date: date(),
          cause: this.#error({ ...failure, ...(status === 409 && { status: 503 }) }),
          wasSent: status !== undefined || wasSent(error),
        };
      throw this.#error(failure);
    }
  }

  #open(): S3Client {
    if (this.#closed) throw this.#closedError();
    return (this.#client ??= makeClient(this.#options));
  }
  #limit(bytes: number): AbortSignal {
    return this.#limits.signal(this.#options.timeoutMs + Math.ceil(bytes / 262_144) * 1_000);
  }
  #closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The store in S3 bucket "${this.#bucket}" is closed`);
  }
  #failure(error: unknown): StoreFailure {
    if (this.#closed) throw this.#closedError();
    return failureOf(error, this.#options);
  }
  #error(failure: StoreFailure): OmniQError {
    return storeError(failure, namesOf(this.#options));
  }
}
