// graphile-worker as its documentation first shows it.
import type { Contestant } from "../../frame/contestant.ts";
import { openGraphile } from "../graphile-queue.ts";

export const contestant: Contestant = {
  name: "graphile-worker, plain",
  ours: false,
  packages: ["graphile-worker", "pg"],
  settings: "pool of 10, else as it comes",
  durability: "the server's",
  results: "none; finished tasks are deleted",
  shared: true,
  open: ({ url }) => openGraphile(url, (concurrency) => ({ concurrentJobs: concurrency })),
};
