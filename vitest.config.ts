// All tests of the workspace. Packages load from their sources; child processes and threads load `dist`, so build first.
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["@omniq/source", "node", "development|production"] },
  ssr: { resolve: { conditions: ["@omniq/source", "node", "development|production"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "apps/*/test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
