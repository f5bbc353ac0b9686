// OmniQ on SQLite, `synchronous` normal.
import { join } from "node:path";
import { sqlite } from "@omniq/sqlite";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ, normal",
    packages: ["@omniq/sqlite"],
    settings: "synchronous: normal, else as it comes",
    durability: "WAL, `synchronous` normal: safe from the death of the process once acknowledged",
    shared: true,
  },
  ({ folder }) => sqlite({ databasePath: join(folder, "omniq.db"), synchronous: "normal" }),
);
