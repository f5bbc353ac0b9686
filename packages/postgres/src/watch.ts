// Whether a call that has no answer yet is still worked on: the network may have swallowed it, or the answer.
import pg from "pg";

/** After so long without an answer the server is asked on another connection, and again after as long. */
const suspectMs = 5_000;
/** How long that may take. */
const probeMs = 3_000;
/** A call that has no answer after this time is given up, whatever the server says. */
const answerTimeoutMs = 60_000;

/** What is looked at of a client of `pg`; others may lack it. */
interface Seen {
  readonly processID?: number | null;
  readonly connection?: { readonly stream?: { readonly bytesRead?: number } };
}

export interface Watch {
  /** Makes a connection of the same kind; `undefined` where nobody knows how. */
  readonly client: ((given: Readonly<Record<string, unknown>>) => pg.Client) | undefined;
  /** Whether the server knows connections by the numbers that it gives them: a pooler between them does not. */
  readonly numbered: boolean;
}

/** Asks the server, on a connection made for that, whether it works on what this client asked. */
async function isServed(watch: Watch, client: Seen): Promise<boolean> {
  const probe = watch.client?.({ connectionTimeoutMillis: probeMs, query_timeout: probeMs });
  if (probe === undefined) return true;
  probe.on("error", () => {});
  try {
    await probe.connect();
    const pid = watch.numbered ? client.processID : undefined;
    if (typeof pid !== "number") return true;
    const { rows } = await probe.query({
      text: "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND state <> 'idle'",
      values: [pid],
      rowMode: "array",
    });
    return rows.length > 0;
  } catch (error) {
    // A server that has no connection left is there.
    return (error as { code?: unknown }).code === "53300";
  } finally {
    probe.end().catch(() => {});
  }
}

/** Resolves as `answer`. Rejects when nobody works on it any more, which `onDead` is told, and when one of `stops` is called. */
export function watched<T>(
  answer: Promise<T>,
  client: unknown,
  watch: Watch,
  stops: Set<(reason: Error) => void>,
  onDead: () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const since = performance.now();
    const seen = client as Seen;
    let read = seen.connection?.stream?.bytesRead;
    let timer: NodeJS.Timeout;
    let over = false;
    const end = (): void => {
      over = true;
      clearTimeout(timer);
      stops.delete(stop);
    };
    const stop = (reason: Error): void => {
      end();
      reject(reason);
    };
    const look = async (): Promise<void> => {
      const now = seen.connection?.stream?.bytesRead;
      const moves = now !== undefined && now !== read;
      read = now;
      const late = performance.now() - since >= answerTimeoutMs;
      if (late || !(moves || (await isServed(watch, seen)))) {
        if (over) return;
        stop(new Error("timeout: no answer from the server"));
        onDead();
      } else if (!over) timer = setTimeout(() => void look(), suspectMs);
    };
    timer = setTimeout(() => void look(), suspectMs);
    stops.add(stop);
    answer.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error as Error);
      },
    );
  });
}
