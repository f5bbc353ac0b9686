// OmniQ in files on the local disk.
import { file } from "@omniq/file";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ",
    packages: ["@omniq/file"],
    durability: "safe from a power cut once acknowledged: each commit is a synced file",
    shared: true,
  },
  ({ folder }) => file({ baseDir: folder }),
);
