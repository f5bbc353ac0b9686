// The kit on the example adapter: all that an adapter's own test needs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testBackend } from "@omniq/conformance";
import { afterAll, describe, test } from "vitest";
import { adapter } from "../src/index.ts";

const folder = mkdtempSync(join(tmpdir(), "omniq-jsonl-"));
afterAll(() => rmSync(folder, { recursive: true }));

testBackend({
  describe,
  test,
  adapter,
  components: ["eventStorage"],
  options: (namespace) => ({ path: join(folder, `${namespace}.jsonl`) }),
  damage: (namespace, _kind, id) => {
    const path = join(folder, `${namespace}.jsonl`);
    const lines = readFileSync(path, "utf8").split("\n");
    // The line that holds this event loses its end.
    const spoiled = lines.map((line) => (line.includes(`"id":"${id}"`) ? line.slice(0, -5) : line));
    writeFileSync(path, spoiled.join("\n"));
  },
});
