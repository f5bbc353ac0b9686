// plainjob, `synchronous` full.
import type { Contestant } from "../../frame/contestant.ts";
import { openPlainjob } from "../plainjob-queue.ts";

export const contestant: Contestant = {
  name: "plainjob, full",
  ours: false,
  rival: "OmniQ",
  packages: ["plainjob"],
  settings: "as many workers as the concurrency; synchronous set to full, else as it comes",
  durability: "WAL, `synchronous` full: safe from a power cut once acknowledged",
  results: "none; finished tasks are kept",
  shared: true,
  open: async ({ folder }) => openPlainjob(folder, "full"),
};
