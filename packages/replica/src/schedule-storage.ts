// The schedule storage component over an executor.
import type {
  CallOptions,
  ComponentCapabilities,
  NewSchedule,
  Page,
  PageRequest,
  ScheduleStorage,
  StoredSchedule,
} from "@omniq/core";
import type { Executor } from "./executor.ts";
import { Lifetime } from "./waiting.ts";

export class ReplicaScheduleStorage implements ScheduleStorage {
  readonly component = "schedule-storage";
  readonly backend: object;
  readonly capabilities: ComponentCapabilities;
  readonly #executor: Executor;
  readonly #lifetime: Lifetime = new Lifetime("schedule storage");

  constructor(executor: Executor, capabilities: ComponentCapabilities, backend: object) {
    this.#executor = executor;
    this.capabilities = capabilities;
    this.backend = backend;
  }

  async put(
    schedule: NewSchedule,
    revision: string | null | undefined,
    options: CallOptions = {},
  ): Promise<StoredSchedule | undefined> {
    this.#lifetime.check(options.signal);
    const [stored] = await this.#executor.execute([{ verb: "putSchedule", schedule, revision }], options);
    return stored ?? undefined;
  }
  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredSchedule | undefined)[]> {
    this.#lifetime.check(options.signal);
    const [schedules] = await this.#executor.execute([{ verb: "getSchedules", ids }], options);
    return schedules;
  }
  async list(page: PageRequest, options: CallOptions = {}): Promise<Page<StoredSchedule>> {
    this.#lifetime.check(options.signal);
    const [schedules] = await this.#executor.execute([{ verb: "listSchedules", page }], options);
    return schedules;
  }
  async delete(ids: readonly string[], options: CallOptions = {}): Promise<readonly boolean[]> {
    this.#lifetime.check(options.signal);
    const [deleted] = await this.#executor.execute([{ verb: "deleteSchedules", ids }], options);
    return deleted;
  }
  async due(
    limit: number,
    options: CallOptions = {},
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }> {
    this.#lifetime.check(options.signal);
    const [due] = await this.#executor.execute([{ verb: "dueSchedules", limit }], options);
    return due;
  }
  async advance(
    id: string,
    revision: string,
    next: { readonly nextAt: number | null; readonly runs: number },
    options: CallOptions = {},
  ): Promise<boolean> {
    this.#lifetime.check(options.signal);
    const [advanced] = await this.#executor.execute([{ verb: "advanceSchedule", id, revision, next }], options);
    return advanced;
  }
  async close(): Promise<void> {
    this.#lifetime.end();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
