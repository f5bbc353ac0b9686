// OmniQ on Redis.
import { redis } from "@omniq/redis";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ",
    packages: ["@omniq/redis", "ioredis"],
    durability: "the server's",
    shared: true,
  },
  ({ url, prefix }) => redis({ url, prefix }),
);
