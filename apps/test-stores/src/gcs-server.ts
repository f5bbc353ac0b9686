// A stand-in for Google Cloud Storage: objects by the XML API, lists by the JSON API, strict about generations.
// Source of statuses: "Request preconditions" and the XML and JSON API references of the Cloud Storage documentation.
import { Bucket, type Condition, type StoredObject } from "./bucket.ts";
import {
  startStoreServer,
  type Operation,
  type StoreAnswer,
  type StoreRequest,
  type StoreServer,
  type StoreServerOptions,
} from "./store-server.ts";
import { xmlError } from "./xml.ts";

export interface GcsServerOptions extends StoreServerOptions {
  /** The buckets that there are. */
  readonly buckets: readonly string[];
  /** Where given, requests must carry this bearer token. */
  readonly token?: string | undefined;
  /** Writes as if no condition had been given, as emulators do. */
  readonly ignoreConditions?: boolean | undefined;
  /** The largest page of a list. Default 1,000, as the store's. */
  readonly pageSize?: number | undefined;
}

/** Starts one. Its buckets are empty, and gone when it stops. */
export function startGcsServer(options: GcsServerOptions): Promise<StoreServer> {
  const buckets = new Map(options.buckets.map((name) => [name, new Bucket(options.now ?? Date.now)]));
  return startStoreServer(
    {
      classify,
      error: (status, code) => ({ status, headers: { "Content-Type": "application/xml" }, body: xmlError(code) }),
      answer: (request) => {
        const target = split(request.url);
        const error = target.json ? jsonError : xmlAnswer;
        if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`)
          return error(request.headers.authorization === undefined ? 401 : 403, "AccessDenied");
        const bucket = buckets.get(target.bucket);
        if (bucket === undefined) return error(404, "NoSuchBucket");
        return target.json ? list(bucket, request.url, options) : object(bucket, target.key, request, options);
      },
    },
    options,
  );
}

interface Target {
  readonly json: boolean;
  readonly bucket: string;
  readonly key: string;
}

function split(url: URL): Target {
  const json = /^\/storage\/v1\/b\/([^/]+)\/o$/.exec(url.pathname);
  if (json !== null) return { json: true, bucket: decodeURIComponent(json[1] ?? ""), key: "" };
  const [, bucket = "", ...rest] = url.pathname.split("/");
  return { json: false, bucket: decodeURIComponent(bucket), key: decodeURIComponent(rest.join("/")) };
}

function classify({ method, url, headers }: StoreRequest): Operation {
  const { json, bucket, key } = split(url);
  if (json) return { kind: "list", bucket, key: url.searchParams.get("prefix") ?? "" };
  if (method === "GET") return { kind: "read", bucket, key };
  if (method === "DELETE") return { kind: "delete", bucket, key };
  if (method !== "PUT") return { kind: "other", bucket, key };
  const wanted = headers["x-goog-if-generation-match"];
  return { kind: wanted === undefined ? "write" : wanted === "0" ? "create" : "replace", bucket, key };
}

function xmlAnswer(status: number, code: string): StoreAnswer {
  return { status, headers: { "Content-Type": "application/xml" }, body: xmlError(code) };
}
function jsonError(status: number, reason: string): StoreAnswer {
  const body = JSON.stringify({ error: { code: status, message: reason, errors: [{ reason }] } });
  return { status, headers: { "Content-Type": "application/json" }, body };
}

function object(bucket: Bucket, key: string, request: StoreRequest, options: GcsServerOptions): StoreAnswer {
  const { method, headers, body } = request;
  if (method === "PUT") {
    const wanted = headers["x-goog-if-generation-match"];
    let condition: Condition;
    if (wanted === "0") condition = "absent";
    else if (wanted !== undefined)
      condition = { match: ({ generation }: StoredObject) => String(generation) === wanted };
    const written = bucket.put(key, body, options.ignoreConditions === true ? undefined : condition);
    if (typeof written === "string") return xmlAnswer(412, "PreconditionFailed");
    return { status: 200, headers: { "x-goog-generation": String(written.generation), ETag: `"${written.etag}"` } };
  }
  const found = bucket.get(key);
  if (found === undefined) return xmlAnswer(404, "NoSuchKey");
  if (method === "DELETE") {
    bucket.delete(key);
    return { status: 204 };
  }
  if (method !== "GET") return xmlAnswer(405, "MethodNotAllowed");
  return {
    status: 200,
    headers: {
      "Content-Type": "application/octet-stream",
      "Last-Modified": new Date(found.lastModified).toUTCString(),
      "x-goog-generation": String(found.generation),
      ETag: `"${found.etag}"`,
    },
    body: found.body,
  };
}

function list(bucket: Bucket, url: URL, options: GcsServerOptions): StoreAnswer {
  const query = url.searchParams;
  const limit = Math.min(Number(query.get("maxResults") ?? 1_000), options.pageSize ?? 1_000, 1_000);
  const token = query.get("pageToken");
  // `startOffset` is inclusive, a page token goes on after the last key of its page.
  const { objects, next } =
    token === null
      ? bucket.list(query.get("prefix") ?? "", query.get("startOffset") ?? "", true, limit)
      : bucket.list(query.get("prefix") ?? "", token, false, limit);
  const items = objects.map(({ key, generation, lastModified }) => ({
    name: key,
    generation: String(generation),
    updated: new Date(lastModified).toISOString(),
  }));
  const body = { kind: "storage#objects", ...(next !== undefined && { nextPageToken: next }), items };
  return { status: 200, headers: { "Content-Type": "application/json; charset=UTF-8" }, body: JSON.stringify(body) };
}
