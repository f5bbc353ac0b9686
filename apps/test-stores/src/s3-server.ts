// A stand-in for S3: the five requests that the store makes, path-style, strict about conditions.
// Source of statuses and codes: "Conditional writes" and "Error responses" of the Amazon S3 documentation.
import { Bucket, type Condition, type StoredObject } from "./bucket.ts";
import {
  startStoreServer,
  type Operation,
  type StoreAnswer,
  type StoreRequest,
  type StoreServer,
  type StoreServerOptions,
} from "./store-server.ts";
import { escapeXml, textsOf, xmlError } from "./xml.ts";

export interface S3ServerOptions extends StoreServerOptions {
  /** The buckets that there are. */
  readonly buckets: readonly string[];
  /** The one access key id that is let in. Default `test`. Signatures are not checked. */
  readonly accessKeyId?: string | undefined;
  /** Writes as if no condition had been given, as many imitations of S3 do. */
  readonly ignoreConditions?: boolean | undefined;
  /** The largest page of a list. Default 1,000, as S3's. */
  readonly pageSize?: number | undefined;
}

/** Starts one. Its buckets are empty, and gone when it stops. */
export function startS3Server(options: S3ServerOptions): Promise<StoreServer> {
  const buckets = new Map(options.buckets.map((name) => [name, new Bucket(options.now ?? Date.now)]));
  return startStoreServer(
    {
      classify,
      error,
      answer: (request) => {
        if (!request.headers.authorization?.includes(`Credential=${options.accessKeyId ?? "test"}/`))
          return error(403, request.headers.authorization === undefined ? "AccessDenied" : "InvalidAccessKeyId");
        const bucket = buckets.get(split(request.url).bucket);
        return bucket === undefined ? error(404, "NoSuchBucket") : answer(bucket, request, options);
      },
    },
    options,
  );
}

function split(url: URL): { readonly bucket: string; readonly key: string } {
  const [, bucket = "", ...rest] = url.pathname.split("/");
  return { bucket: decodeURIComponent(bucket), key: decodeURIComponent(rest.join("/")) };
}

function classify({ method, url, headers }: StoreRequest): Operation {
  const { bucket, key } = split(url);
  if (key === "" && method === "GET") return { kind: "list", bucket, key: url.searchParams.get("prefix") ?? "" };
  if (method === "DELETE" || (method === "POST" && url.searchParams.has("delete")))
    return { kind: "delete", bucket, key };
  if (method === "GET") return { kind: "read", bucket, key };
  if (method !== "PUT") return { kind: "other", bucket, key };
  const kind =
    headers["if-none-match"] === undefined ? (headers["if-match"] === undefined ? "write" : "replace") : "create";
  return { kind, bucket, key };
}

function error(status: number, code: string): StoreAnswer {
  return { status, headers: { "Content-Type": "application/xml" }, body: xmlError(code) };
}

function answer(bucket: Bucket, request: StoreRequest, options: S3ServerOptions): StoreAnswer {
  const { method, url } = request;
  const { key } = split(url);
  if (key === "") {
    if (method === "GET" && url.searchParams.get("list-type") === "2") return list(bucket, url, options);
    if (method === "POST" && url.searchParams.has("delete")) return deleteMany(bucket, request);
    return error(501, "NotImplemented");
  }
  if (method === "PUT") return put(bucket, key, request, options);
  if (method === "DELETE") {
    bucket.delete(key);
    return { status: 204 };
  }
  if (method !== "GET") return error(405, "MethodNotAllowed");
  const object = bucket.get(key);
  if (object === undefined) return error(404, "NoSuchKey");
  const headers = {
    ETag: `"${object.etag}"`,
    "Last-Modified": new Date(object.lastModified).toUTCString(),
    "Content-Type": "application/octet-stream",
  };
  return { status: 200, headers, body: object.body };
}

function put(bucket: Bucket, key: string, request: StoreRequest, options: S3ServerOptions): StoreAnswer {
  const { "if-none-match": none, "if-match": match, "content-encoding": encoding } = request.headers;
  if (encoding === "aws-chunked" || (none !== undefined && none !== "*")) return error(501, "NotImplemented");
  if (none !== undefined && match !== undefined) return error(400, "InvalidRequest");
  let condition: Condition;
  if (none === "*") condition = "absent";
  if (match !== undefined) condition = { match: ({ etag }: StoredObject) => `"${etag}"` === match };
  const written = bucket.put(key, request.body, options.ignoreConditions === true ? undefined : condition);
  if (written === "refused") return error(412, "PreconditionFailed");
  if (written === "missing") return error(404, "NoSuchKey");
  return { status: 200, headers: { ETag: `"${written.etag}"` } };
}

function deleteMany(bucket: Bucket, request: StoreRequest): StoreAnswer {
  const keys = textsOf(request.body.toString("utf8"), "Key");
  if (keys.length === 0 || keys.length > 1_000) return error(400, "MalformedXML");
  for (const key of keys) bucket.delete(key);
  return { status: 200, headers: { "Content-Type": "application/xml" }, body: "<DeleteResult></DeleteResult>" };
}

function list(bucket: Bucket, url: URL, options: S3ServerOptions): StoreAnswer {
  const prefix = url.searchParams.get("prefix") ?? "";
  const asked = Number(url.searchParams.get("max-keys") ?? 1_000);
  const from = url.searchParams.get("continuation-token") ?? url.searchParams.get("start-after") ?? "";
  const limit = Math.min(asked, options.pageSize ?? 1_000, 1_000);
  const { objects, next } = bucket.list(prefix, from, false, limit);
  const contents = objects.map(
    ({ key, etag, lastModified, body }) =>
      `<Contents><Key>${escapeXml(key)}</Key><LastModified>${new Date(lastModified).toISOString()}</LastModified>` +
      `<ETag>&quot;${etag}&quot;</ETag><Size>${body.length}</Size></Contents>`,
  );
  const more =
    next === undefined
      ? "<IsTruncated>false</IsTruncated>"
      : `<IsTruncated>true</IsTruncated><NextContinuationToken>${escapeXml(next)}</NextContinuationToken>`;
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>${more}${contents.join("")}</ListBucketResult>`;
  return { status: 200, headers: { "Content-Type": "application/xml" }, body };
}
