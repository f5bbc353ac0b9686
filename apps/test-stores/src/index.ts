// Stand-ins for cloud object stores, for tests: S3 and Google Cloud Storage of our own, Azure by Azurite.
export { connectFromThread, meetForeignObjects, passTask } from "./configured.ts";
export { azuriteAccount, azuriteKey, startAzureServer } from "./azure-server.ts";
export { type GcsServerOptions, startGcsServer } from "./gcs-server.ts";
export { type S3ServerOptions, startS3Server } from "./s3-server.ts";
export type { Fault, Operation, OperationKind, StoreServer, StoreServerOptions } from "./store-server.ts";
export { script, storeCases, type StoreCase, type StoreCaseWorld } from "./store-cases.ts";
export { randomFaults, type RandomFaults } from "./random-faults.ts";
export { startStand, type Stand, type StandKind } from "./stand.ts";
export { partOfKit } from "./kit-part.ts";
export { raceAppenders, type AppenderRace, type AppenderReport } from "./race-appenders.ts";
