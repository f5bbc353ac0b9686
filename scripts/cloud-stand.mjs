// Stand-ins for cloud stores, each with one bucket, in this process: what a configuration says of them, and how they are told to fail.
import { randomFaults, startStand } from "../apps/test-stores/dist/index.js";
import { startProxy } from "./faulty-server.mjs";

/** The kinds of cloud stores. */
export const clouds = ["s3", "gcs", "azure"];

const running = new Map();

/** Starts one; afterwards {@link cloudOptions} describes it to `@omniq/file`. */
export async function startCloud(kind) {
  const stand = await startStand(kind, "bucket");
  running.set(kind, { stand, endpoint: stand.storageOptions.endpoint_url });
  return { stop: () => stand.server.stop() };
}

/**
 * One behind a proxy, with a round trip and with writes that are refused, cut before and after they are done, or land late. Cut off, it keeps its
 * objects, as a store does whose front end was restarted. Its clock is a cloud's, which nobody sets.
 */
export async function startFaultyCloud(kind, { seed, share, roundTripMs }) {
  const stand = await startStand(kind, "bucket");
  stand.server.roundTripMs = roundTripMs;
  const { fault, injected } = randomFaults(seed, share);
  stand.server.fault = fault;
  const endpoint = new URL(stand.storageOptions.endpoint_url);
  const proxy = await startProxy(Number(endpoint.port));
  endpoint.port = String(proxy.port);
  running.set(kind, { stand, endpoint: endpoint.href.replace(/\/$/, "") });
  return {
    name: kind,
    restarts: false,
    clock: false,
    cut: proxy.cut,
    report: () => `${kind}: ${stand.server.requests} requests, injected ${JSON.stringify(injected)}`,
    async stop() {
      proxy.stop();
      await stand.server.stop();
    },
  };
}

/** The options of `@omniq/file` for a place in the bucket of a cloud store that was started. */
export function cloudOptions(kind, name) {
  const { stand, endpoint } = running.get(kind);
  return { base_dir: stand.url(name), storage_options: { ...stand.storageOptions, endpoint_url: endpoint } };
}
