// The command line of a script: what it says when asked for help, and of mistakes, without a stack.
import { parseArgs } from "node:util";

/** Says what is wrong and how the script is called, and ends the process. */
export function refuse(usage, message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}

/** The options and names that were given, as `parseArgs` reads them. `--help` prints the usage and ends the process. */
export function readArguments(usage, config) {
  let read;
  try {
    read = parseArgs({ ...config, options: { ...config.options, help: { type: "boolean", short: "h" } } });
  } catch (error) {
    refuse(usage, error.message);
  }
  if (read.values.help) {
    console.log(usage);
    process.exit(0);
  }
  return read;
}
