// Type test: an adapter of a third party, with one component, in code and in configuration (not run: it needs a server).
import { defineAdapter, OmniQ, type Adapter, type EventStorage, type Provides } from "@omniq/core";
import { memory } from "@omniq/memory";

export interface ClickHouseOptions {
  readonly url: string;
  readonly table?: string | undefined;
}
declare module "@omniq/core" {
  interface BackendOptions {
    clickhouse: ClickHouseOptions;
  }
}

class ClickHouseBackend implements Provides<"eventStorage"> {
  readonly type = "clickhouse";
  readonly contract = 1;
  readonly #options: ClickHouseOptions;
  constructor(options: ClickHouseOptions) {
    this.#options = options;
  }
  eventStorage(): EventStorage {
    throw new Error(this.#options.url);
  }
  async check(): Promise<void> {}
  async close(): Promise<void> {}
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
export const clickhouse: Adapter<"clickhouse", ClickHouseOptions, ClickHouseBackend> = defineAdapter({
  type: "clickhouse",
  contract: 1,
  options: { url: "secret", table: "string" },
  create: (options) => new ClickHouseBackend(options),
});
export { clickhouse as adapter };

export const withEvents = new OmniQ({ taskQueue: memory(), eventStorage: clickhouse({ url: "x" }) });
// @ts-expect-error it has no task queue
export const withTasks = new OmniQ({ taskQueue: clickhouse({ url: "x" }) });
defineAdapter({
  type: "clickhouse",
  contract: 1,
  // @ts-expect-error an option is not described
  options: { url: "secret" },
  create: () => new ClickHouseBackend({ url: "" }),
});
await OmniQ.load({
  config: { taskQueue: { type: "memory" }, eventStorage: { type: "clickhouse", url: "http://localhost" } },
});
