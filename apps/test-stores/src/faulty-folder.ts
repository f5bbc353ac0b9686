// A folder whose writes are ambiguous: lost before and after they are done, or done late. For processes that share it, each with faults of its own.
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError } from "@omniq/core";
import { LocalStore, type CreateAnswer, type ObjectStoreAdapter } from "@omniq/file";
import { randomFaults } from "./random-faults.ts";

interface FaultyOptions {
  readonly path: string;
  readonly seed: number;
  /** The share of calls that go wrong. */
  readonly share: number;
}

class FaultyFolder extends LocalStore {
  readonly #fault: ReturnType<typeof randomFaults>["fault"];

  constructor({ path, seed, share }: FaultyOptions) {
    super(path);
    this.#fault = randomFaults(seed + process.pid, share).fault;
  }
  override async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    const fault = this.#fault({ kind: "create", bucket: "", key });
    if (fault === undefined) return await super.create(key, body);
    const cause = new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The answer was lost on purpose");
    if (fault.type === "delay") await sleep(fault.ms);
    if (fault.type === "late")
      void sleep(fault.ms)
        .then(() => super.create(key, body))
        .catch(() => undefined);
    if (fault.type === "drop-after") await super.create(key, body);
    return fault.type === "delay" ? await super.create(key, body) : { state: "unknown", cause };
  }
}

export const store: ObjectStoreAdapter = {
  scheme: "faulty",
  fromUrl: (_, options) => new FaultyFolder(options as FaultyOptions),
};
