// @omniq/core: contracts, model, errors, client, worker, scheduler and configuration.
export * from "./backend.ts";
export * from "./contracts/index.ts";
export * from "./errors.ts";
export * from "./limits.ts";
