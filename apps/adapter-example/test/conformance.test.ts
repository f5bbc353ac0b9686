// The kit on the example adapter: all that an adapter's own test needs.
import { mkdtempSync, rmSync } from "node:fs";
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
});
