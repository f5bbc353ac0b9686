// The object store in a Google Cloud Storage bucket: conditional writes by generation.
// Source of headers and statuses: "Request preconditions" and the XML API reference of the Cloud Storage documentation.
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
  storeError,
  wasSent,
} from "@omniq/file";
import { closedError, GcsClient, namesOf } from "./client.ts";
import type { CheckedOptions } from "./options.ts";

/** Single deletes cost nothing, and a batch of them is not faster than some at a time. */
const deletesAtOnce = 16;
const maxListed = 1_000;

interface Page extends ListAnswer {
  readonly token: string | undefined;
}

/** A Google Cloud Storage bucket, or a prefix of one. Revisions are generations, which change with every write. */
export class GcsStore implements ObjectStore {
  readonly #options: CheckedOptions;
  readonly #client: GcsClient;
  readonly #prefix: string;
  #closed = false;

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#prefix = options.prefix;
    this.#client = new GcsClient(options);
  }

  async read(key: string, maxBytes?: number): Promise<ReadAnswer> {
    this.#checkOpen();
    return await repeatCall(() =>
      this.#client.send<ReadAnswer>(
        // Publicly readable objects would otherwise come from caches.
        { method: "GET", path: this.#path(key), headers: { "Cache-Control": "no-store" }, maxBytes },
        ({ body, headers, date }) => ({
          object: {
            body,
            revision: headers.get("x-goog-generation") ?? "",
            lastModified: readHttpDate(headers.get("last-modified")),
          },
          date,
        }),
        ({ status, code }, date) => (status === 404 && code === "NoSuchKey" ? { object: undefined, date } : undefined),
      ),
    );
  }

  async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    const { state, ...rest } = await this.#put(key, body, "0");
    return { state: state === "written" ? "created" : state === "refused" ? "exists" : "unknown", ...rest };
  }

  async replace(key: string, body: Uint8Array, revision: string): Promise<ReplaceAnswer> {
    // Generation 0 means "nothing is there", which a revision never does.
    if (!/^[1-9]\d*$/.test(revision)) return { state: "conflict", date: undefined };
    const { state, ...rest } = await this.#put(key, body, revision);
    return { state: state === "written" ? "replaced" : state === "refused" ? "conflict" : "unknown", ...rest };
  }

  async delete(keys: readonly string[]): Promise<void> {
    this.#checkOpen();
    await forEachLimited(keys, deletesAtOnce, (key) =>
      repeatCall(() =>
        this.#client.send<void | true>(
          { method: "DELETE", path: this.#path(key) },
          () => true,
          ({ status, code }) => (status === 404 && code === "NoSuchKey" ? true : undefined),
        ),
      ).then(() => undefined),
    );
  }

  async list(prefix: string, after?: string, limit: number = Infinity): Promise<ListAnswer> {
    this.#checkOpen();
    const objects: ListedObject[] = [];
    let date: number | undefined;
    let token: string | undefined;
    let first = true;
    do {
      const page = await repeatCall(() => this.#page(prefix, after, token, limit - objects.length));
      // Of several pages the first one's time counts: the list is as old as its oldest part.
      if (first) date = page.date;
      first = false;
      objects.push(...page.objects);
      token = page.token;
    } while (token !== undefined && objects.length < limit);
    return { objects: objects.slice(0, limit), date };
  }

  async close(): Promise<void> {
    // Connections are the process's own and end by themselves.
    this.#closed = true;
    this.#client.close();
  }

  #page(prefix: string, after: string | undefined, token: string | undefined, wanted: number): Promise<Page> {
    const query = new URLSearchParams({
      prefix: this.#prefix + prefix,
      // One more than wanted: `startOffset` is inclusive, and `after` is left out below.
      maxResults: String(Math.min(wanted + 1, maxListed)),
      fields: "items(name,updated),nextPageToken",
    });
    if (after !== undefined) query.set("startOffset", this.#prefix + after);
    if (token !== undefined) query.set("pageToken", token);
    const path = `/storage/v1/b/${encodeURIComponent(this.#options.bucket)}/o?${query}`;
    return this.#client.send<Page>(
      { method: "GET", path },
      ({ body, date }) => {
        const { items = [], nextPageToken } = JSON.parse(new TextDecoder().decode(body)) as {
          readonly items?: readonly { readonly name: string; readonly updated?: string }[];
          readonly nextPageToken?: string;
        };
        const objects = items
          .map(({ name, updated }) => ({ key: name.slice(this.#prefix.length), lastModified: readHttpDate(updated) }))
          .filter(({ key }) => key !== after);
        return { objects, date, token: nextPageToken };
      },
      // The JSON API says `notFound` of nothing but the bucket here.
      ({ status, cause }) => {
        if (status !== 404) return undefined;
        throw storeError({ status, code: "NoSuchBucket", cause }, namesOf(this.#options));
      },
    );
  }

  #put(
    key: string,
    body: Uint8Array,
    generation: string,
  ): Promise<{
    readonly state: "written" | "refused" | "unknown";
    readonly date: number | undefined;
    readonly cause?: unknown;
    readonly wasSent?: boolean;
  }> {
    this.#checkOpen();
    return this.#client.send<{
      state: "written" | "refused" | "unknown";
      date: number | undefined;
      cause?: unknown;
      wasSent?: boolean;
    }>(
      {
        method: "PUT",
        path: this.#path(key),
        headers: {
          "x-goog-if-generation-match": generation,
          "Content-Type": "application/octet-stream",
          "Cache-Control": "no-store",
        },
        body,
      },
      ({ date }) => ({ state: "written", date }),
      (failure, date) => {
        if (failure.status === 412) return { state: "refused", date };
        if (!isPassing(failure)) return undefined;
        const cause = storeError(failure, namesOf(this.#options));
        // Credentials that could not be had are no unknown outcome.
        if (!cause.retryable) return undefined;
        return { state: "unknown", date, cause, wasSent: failure.status !== undefined || wasSent(failure.cause) };
      },
    );
  }

  #path(key: string): string {
    const name = (this.#prefix + key).split("/").map(encodeURIComponent).join("/");
    return `/${encodeURIComponent(this.#options.bucket)}/${name}`;
  }
  #checkOpen(): void {
    if (this.#closed) throw closedError(this.#options);
  }
}
