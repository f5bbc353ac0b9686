// OmniQ on NATS.
import { nats } from "@omniq/nats";
import type { Contestant } from "../../frame/contestant.ts";
import { omniqOn } from "../omniq-queue.ts";

export const contestant: Contestant = omniqOn(
  {
    name: "OmniQ",
    packages: ["@omniq/nats", "@nats-io/jetstream"],
    durability: "the server's: a call resolves when the stream has stored it",
    shared: true,
  },
  ({ url, prefix }) => nats({ servers: [url], prefix, durabilityWarning: false }),
);
