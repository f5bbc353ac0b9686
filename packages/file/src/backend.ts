// The File backend: a replica over a commit log in an object store, four components, closed together.
import { isOmniQError, Reports } from "@omniq/core";
import type {
  Backend,
  BackendReport,
  EventStorage,
  RemoteBackend,
  ResultStorage,
  ScheduleStorage,
  TaskQueue,
} from "@omniq/core";
import { createComponents, endSoon, LazyExecutor, type ComponentMakers, type ReplicaOptions } from "@omniq/replica";
import { CommitLog } from "./commit-log.ts";
import { checkpointPrefix } from "./names.ts";
import type { ObjectStore } from "./object-store.ts";
import type { CheckedOptions } from "./options.ts";
import { probeStore } from "./probe.ts";
import { remoteBackend } from "./remote-backend.ts";
import { isRemote, ownStore, packagedStore, type PackagedStore } from "./stores.ts";

/** UTF-8 bytes of a payload, a result's value and an event's data. */
const maxPayloadBytes = 16_777_216;
const maxBatch = 1_000;
/** On stores far away a commit may need many tries, so that shorter leases would run out under their holders. */
const remoteLeaseMs = 30_000;

/** Where each commit takes a round trip far away, more rides in it. */
const remoteCommitBytes = 4_194_304;

export class FileBackend implements Backend {
  readonly type = "file";
  readonly contract = 1;
  readonly remote: RemoteBackend | undefined;
  readonly #options: CheckedOptions;
  readonly #executor: LazyExecutor;
  readonly #components: ComponentMakers;
  readonly #reports: Reports = new Reports();
  #store: Promise<ObjectStore> | undefined;
  #closing: Promise<void> | undefined;

  /** `loaded`: the store of `baseDir`, where its package is loaded already, or is being loaded. */
  constructor(options: CheckedOptions, loaded?: PackagedStore | Promise<PackagedStore>) {
    this.#options = options;
    const { baseDir, store, storageOptions, minimumLeaseMs, ...tuning } = options;
    const own = baseDir === undefined || loaded !== undefined ? undefined : ownStore(baseDir, storageOptions);
    if (own !== undefined) this.#store = Promise.resolve(own);
    if (loaded !== undefined) {
      this.#store = Promise.resolve(loaded).then(({ store: packaged }) => packaged);
      // Whoever calls hears of it.
      this.#store.catch(() => undefined);
    }
    const far = baseDir === undefined ? (store?.reach ?? "network") === "network" : isRemote(baseDir);
    const reach = far ? "network" : ((store ?? own)?.reach ?? "host");
    if (baseDir !== undefined && reach !== "process") {
      const storeModule = loaded instanceof Promise ? undefined : loaded?.module;
      this.remote = remoteBackend({ baseDir, storageOptions, minimumLeaseMs, ...tuning }, storeModule);
    }
    const { deletionGraceMs, eventTtlMs, checkpointBytes, giveUpMs } = tuning;
    const report: ReplicaOptions["report"] = (level, message, fields) => this.#reports.send(level, message, fields);
    const openLog = async (): Promise<CommitLog> => {
      const opened = await this.#openStore();
      await probeStore(opened).catch((error: unknown) => {
        // A full disk can still be read; that links are exclusive is the file system's promise, and a missing one shows when one is made.
        if (far || !isOmniQError(error, "OMNIQ_BACKEND_FULL")) throw error;
      });
      return new CommitLog(opened, { deletionGraceMs, giveUpMs, report });
    };
    this.#executor = new LazyExecutor(openLog, {
      eventTtlMs,
      checkpointBytes,
      giveUpMs,
      commitBytes: far ? remoteCommitBytes : undefined,
      report,
    });
    this.#components = createComponents(this.#executor, {
      backend: this,
      durable: reach !== "process",
      push: reach !== "network",
      reach,
      remoteHeartbeats: this.remote !== undefined,
      maxPayloadBytes,
      maxBatch,
      minimumLeaseMs: minimumLeaseMs ?? (far ? remoteLeaseMs : 1),
    });
  }

  taskQueue(): TaskQueue {
    return this.#components.taskQueue();
  }
  resultStorage(): ResultStorage {
    return this.#components.resultStorage();
  }
  eventStorage(): EventStorage {
    return this.#components.eventStorage();
  }
  scheduleStorage(): ScheduleStorage {
    return this.#components.scheduleStorage();
  }

  /** Looks whether the store answers; the log is not opened. */
  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const store = await this.#openStore();
    await store.list(checkpointPrefix, undefined, 1);
  }

  /** What can't be read in the store: foreign and damaged commits and checkpoints, each once. */
  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#reports.listen(listener);
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await endSoon(this.#components.close());
      await this.#executor.close();
      // A store that the user gave is the user's. Requests under way end with it, so that nothing waits for an answer.
      await endSoon(this.#store?.then((store) => store.close()));
    })());
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #openStore(): Promise<ObjectStore> {
    const { store, baseDir, storageOptions } = this.#options;
    if (store !== undefined) return Promise.resolve(store);
    return (this.#store ??= packagedStore(baseDir as string, storageOptions).then(
      ({ store: packaged }) => packaged,
      (error: unknown) => {
        this.#store = undefined;
        throw error;
      },
    ));
  }
}
