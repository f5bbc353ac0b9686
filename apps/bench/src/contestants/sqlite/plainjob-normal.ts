// plainjob, `synchronous` normal.
import type { Contestant } from "../../frame/contestant.ts";
import { openPlainjob } from "../plainjob-queue.ts";

export const contestant: Contestant = {
  name: "plainjob, normal",
  ours: false,
  rival: "OmniQ, normal",
  packages: ["plainjob"],
  settings: "as many workers as the concurrency; its own pragmas, else as it comes",
  durability: "WAL, `synchronous` normal: safe from the death of the process once acknowledged",
  results: "none; finished tasks are kept",
  shared: true,
  open: async ({ folder }) => openPlainjob(folder, "normal"),
};
