// What a replica can be told.
import type { BackendReport } from "@omniq/core";

export interface ReplicaOptions {
  readonly eventTtlMs?: number | undefined;
  /** How long an append is sent again while its answer is lost, before the callers hear `OMNIQ_BACKEND_UNAVAILABLE`. Default 30,000. */
  readonly giveUpMs?: number | undefined;
  /** The pause before an append is sent again. Default 50. */
  readonly resendMs?: number | undefined;
  /** A checkpoint is taken after so many bytes of log, or as many as the last checkpoint has. Default 8 MiB. */
  readonly checkpointBytes?: number | undefined;
  /** How many bytes of calls ride in one commit, at most about; a larger call rides alone. Default 524,288. */
  readonly commitBytes?: number | undefined;
  /** Hears of what the replica noticed by itself: a commit that can't be read, a checkpoint that could not be written. */
  readonly report?:
    | ((level: BackendReport["level"], message: string, fields: BackendReport["fields"]) => void)
    | undefined;
  /** How many lanes the state keeps; part of the format, so that only tests may change it. */
  readonly laneLimit?: number | undefined;
}

export const defaultResendMs = 50;
