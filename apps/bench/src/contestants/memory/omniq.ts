// OmniQ in memory.
import { memory } from "@omniq/memory";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  { name: "OmniQ", packages: ["@omniq/memory"], durability: "none", shared: false },
  () => memory(),
);
