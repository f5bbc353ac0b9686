// graphile-worker with the preset of its own benchmarks.
import type { Contestant } from "../../frame/contestant.ts";
import { openGraphile } from "../graphile-queue.ts";

export const contestant: Contestant = {
  name: "graphile-worker, batched",
  ours: false,
  packages: ["graphile-worker", "pg"],
  settings:
    "pool of 10; local queue of 5 × concurrency (at least 100) tasks, completions batched (delay 0), as in its benchmarks",
  durability: "the server's; a task is done some milliseconds before its completion is stored",
  results: "none; finished tasks are deleted",
  shared: true,
  open: ({ url }) =>
    openGraphile(url, (concurrency) => ({
      concurrentJobs: concurrency,
      localQueue: { size: Math.max(concurrency * 5, 100) },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    })),
};
