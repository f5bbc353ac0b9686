// The conformance kit on a folder for each namespace, with races between real processes.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testBackend } from "@omniq/conformance";
import { file } from "@omniq/file";
import { afterAll, describe, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "omniq-conformance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const module = new URL("../dist/index.js", import.meta.url);

testBackend({ describe, test, adapter: file, module, options: (name) => ({ baseDir: join(folder, name) }) });
