// Processes that race for the positions of one log in one bucket, 50 ms away, with doubtful writes and a kill.
import { store } from "@omniq/file-gcs";
import { raceAppenders, startStand } from "omniq-test-stores";
import { afterAll, expect, test } from "vitest";

const stand = await startStand("gcs", "race");
afterAll(() => stand.server.stop());

test("what was acknowledged is in the log once, whatever was lost, late or killed", async () => {
  const report = await raceAppenders({
    stand,
    module: new URL("../dist/index.js", import.meta.url),
    store: store.fromUrl(stand.url("tasks"), stand.storageOptions),
    prefix: "tasks",
    processes: 3,
    appends: 10,
    seed: 7,
  });
  expect(Object.keys(report.injected).filter((name) => name.startsWith("create")).length).toBeGreaterThan(2);
}, 120_000);
