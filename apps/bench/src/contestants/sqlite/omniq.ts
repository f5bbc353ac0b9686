// OmniQ on SQLite, `synchronous` full.
import { join } from "node:path";
import { sqlite } from "@omniq/sqlite";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ",
    packages: ["@omniq/sqlite"],
    settings: "as it comes",
    durability: "WAL, `synchronous` full: safe from a power cut once acknowledged",
    shared: true,
  },
  ({ folder }) => sqlite({ databasePath: join(folder, "omniq.db"), synchronous: "full" }),
);
