// Runs named commands and counts them, for `check` and `test`.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a binary of the workspace (or node with a script); true when it succeeded. */
export function step(name, command, args, options = {}) {
  console.log(`\n▶ ${name}`);
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (error) console.error(error.message);
  const passed = status === 0;
  console.log(`${passed ? "✓" : "✗"} ${name}`);
  return passed;
}

export const bin = (name) => `${root}node_modules/.bin/${name}`;
