// OmniQ on PostgreSQL.
import { postgres } from "@omniq/postgres";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ",
    packages: ["@omniq/postgres", "pg"],
    durability: "the server's: a call resolves after its commit",
    shared: true,
  },
  async ({ url }) => {
    const backend = postgres({ dsn: url });
    await backend.check();
    return backend;
  },
);
