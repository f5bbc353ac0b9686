// Where the code of a thread or a child process lies.
import { existsSync } from "node:fs";

/**
 * The built file beside this module; from sources, the one in `dist`, since Node does not load TypeScript in threads. `undefined` in a bundle, where
 * it lies nowhere; in one of CommonJS there is no `import.meta.url` at all.
 */
export function entryUrl(from: string | undefined, name: string): URL | undefined {
  if (from === undefined) return undefined;
  const url = new URL(from.endsWith(".ts") ? `../../dist/worker/${name}.js` : `./${name}.js`, from);
  return existsSync(url) ? url : undefined;
}

/**
 * The flags for a thread or child: those of this process, without what would make Node load TypeScript sources of this package. `undefined`, so that Node
 * passes on what it can by itself, where there is nothing to leave out: a thread refuses flags of V8 that it is given by name.
 */
export function entryFlags(): string[] | undefined {
  const flags: string[] = [];
  for (let at = 0; at < process.execArgv.length; at += 1) {
    const flag = process.execArgv[at] as string;
    const value = process.execArgv[at + 1];
    if (/^(-C|--conditions)=?@omniq\/source$/.test(flag)) continue;
    if ((flag === "-C" || flag === "--conditions") && value === "@omniq/source") at += 1;
    else flags.push(flag);
  }
  return flags.length === process.execArgv.length ? undefined : flags;
}

/** An adapter's module as a thread can load it: where this package runs from sources, the other's sources are built beside them. */
export function loadable(from: string, module: string): string {
  return from.endsWith(".ts") ? module.replace(/\/src\/([^/]+)\.ts$/, "/dist/$1.js") : module;
}
