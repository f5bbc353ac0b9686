// Where the code of a thread or a child process lies.

/** The built file beside this module; from sources, the one in `dist`, since Node does not load TypeScript in threads. */
export function entryUrl(from: string, name: string): URL {
  if (!from.endsWith(".ts")) return new URL(`./${name}.js`, from);
  return new URL(`../../dist/worker/${name}.js`, from);
}
