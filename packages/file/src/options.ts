// What the File backend can be told, and how it is checked.
import { checkInteger, OmniQError } from "@omniq/core";
import type { ObjectStore, ObjectStoreOptions } from "./object-store.ts";

/** Figures that most users leave alone. */
export interface FileTuning {
  /**
   * Milliseconds that commits are kept after newer checkpoints could stand for them; a process that is suspended for longer opens
   * again when it wakes. Default 3,600,000. Never lower it while processes with a higher one run.
   */
  readonly deletionGraceMs?: number | undefined;
  /** The shortest lease that is given. Default 30,000 on cloud stores, 1 on a local disk. */
  readonly minimumLeaseMs?: number | undefined;
  /** How long events are kept, counted from their time. Default 604,800,000 (7 days). The first process of a folder decides. */
  readonly eventTtlMs?: number | undefined;
  /** A checkpoint is taken after so many bytes of commits, or as many as the last checkpoint has. Default 8,388,608. */
  readonly checkpointBytes?: number | undefined;
  /** How long a write whose answer is lost is sent again before callers hear `OMNIQ_BACKEND_UNAVAILABLE`. Default 30,000. */
  readonly giveUpMs?: number | undefined;
}

type Schemes = keyof ObjectStoreOptions & string;
/**
 * Options in a file, in variables or in code: a folder (a path or `file://`), or the URL of a store whose package is installed (`s3://`,
 * `az://`, `abfs://`, `gs://`, `gcs://`), or `memory://name`.
 */
export type FileConfig = FileTuning &
  (
    | { readonly baseDir: string; readonly storageOptions?: undefined }
    | {
        [S in Schemes]: {
          readonly baseDir: `${S}://${string}`;
          readonly storageOptions?: ObjectStoreOptions[S] | undefined;
        };
      }[Schemes]
  );
/** Options in code: as in a file, or a store of your own, which is never closed. */
export type FileOptions = FileConfig | (FileTuning & { readonly store: ObjectStore; readonly baseDir?: undefined });

/** Options after the checks. One of `baseDir` and `store` is there. */
export interface CheckedOptions extends FileTuning {
  readonly baseDir: string | undefined;
  readonly store: ObjectStore | undefined;
  readonly storageOptions: unknown;
}

const known: ReadonlySet<string> = new Set([
  "baseDir",
  "store",
  "storageOptions",
  "deletionGraceMs",
  "minimumLeaseMs",
  "eventTtlMs",
  "checkpointBytes",
  "giveUpMs",
]);

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: FileOptions): CheckedOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('they must be an object such as { baseDir: "./data/tasks" }');
  const unknown = Object.keys(options).find((name) => !known.has(name));
  if (unknown !== undefined) throw invalid(`"${unknown.slice(0, 60)}" is unknown; known are ${[...known].join(", ")}`);
  const { baseDir, store, storageOptions, ...tuning } = options as CheckedOptions;
  if (baseDir === undefined && store === undefined)
    throw invalid("baseDir is missing: give a folder, the URL of a store, or a store in code");
  if (baseDir !== undefined && store !== undefined)
    throw invalid("baseDir and store exclude each other: give one of them");
  if (baseDir !== undefined && (typeof baseDir !== "string" || baseDir === "" || baseDir.includes("\0")))
    throw invalid("baseDir must be a path or a URL that is not empty");
  if (store !== undefined && (typeof store !== "object" || store === null || typeof store.create !== "function"))
    throw invalid("store must be an object store");
  for (const [name, value] of Object.entries(tuning)) if (value !== undefined) checkInteger(name, value as number, 1);
  return { baseDir, store, storageOptions, ...tuning };
}

export function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the File backend can't be used: ${what}`);
}
