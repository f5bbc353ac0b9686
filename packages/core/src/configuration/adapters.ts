// Finds adapters by type: among those passed in code, else as packages, as the program itself sees them, then the configuration's folder.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { AdapterLoader, AnyAdapter } from "../backend.ts";
import { OmniQError, reasonOf } from "../errors.ts";
import { suggestion } from "./names.ts";

/** Other names of the types that OmniQ's own packages serve, which must be known before the package is loaded. */
const knownTypes: Readonly<Record<string, readonly string[]>> = {
  memory: [],
  sqlite: ["sqlite3"],
  postgres: ["postgresql"],
  redis: ["rediss", "valkey", "valkeys"],
  nats: [],
  file: ["s3", "az", "azure", "abfs", "abfss", "gs", "gcs"],
};
/** Types and aliases whose flat names are understood even where the type is not used. */
export const knownTypeNames: readonly string[] = Object.entries(knownTypes).flatMap(([type, aliases]) => [
  type,
  ...aliases,
]);

/** All names of an adapter's type, those that core knows included. */
export function namesOf(adapter: AnyAdapter): readonly string[] {
  const known = Object.hasOwn(knownTypes, adapter.type) ? knownTypes[adapter.type]! : [];
  return [...new Set([adapter.type, ...adapter.aliases, ...known])];
}

/** The type that a name stands for, as far as that can be told without loading anything. */
export function typeOf(name: string, adapters: readonly AnyAdapter[]): string {
  const given = adapters.find((adapter) => namesOf(adapter).includes(name));
  if (given !== undefined) return given.type;
  return Object.keys(knownTypes).find((type) => type === name || knownTypes[type]!.includes(name)) ?? name;
}

/** The adapter of a type. Rejects with `OMNIQ_ADAPTER_NOT_FOUND` or `OMNIQ_ADAPTER_INCOMPATIBLE`. */
export async function findAdapter(name: string, adapters: readonly AnyAdapter[], folder: string): Promise<AnyAdapter> {
  const type = typeOf(name, adapters);
  const given = adapters.find((adapter) => adapter.type === type);
  if (given !== undefined) return given;
  const known = [...knownTypeNames, ...adapters.flatMap(namesOf)];
  if (!/^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/.test(type) || isBuiltin(type)) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_NOT_FOUND",
      `${JSON.stringify(name)} is neither a type nor the name of a package${suggestion(name.toLowerCase(), known)}`,
    );
  }
  const near = known.includes(type) ? "" : suggestion(name, known);
  // A name is tried as a package only where it says that it is meant for OmniQ, so that neither a typing error nor a configuration runs
  // whatever package has that name.
  if (type.startsWith("@") && !type.includes("omniq")) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_NOT_FOUND",
      `${type} does not say that it is an adapter: only packages with "omniq" in their name are imported. Pass it in \`adapters\``,
    );
  }
  const candidates = type.startsWith("@")
    ? [type]
    : type.includes("omniq")
      ? [type, `@omniq/${type}`]
      : [`@omniq/${type}`];
  for (const candidate of candidates) {
    const module = await importFrom(candidate, folder);
    if (module !== undefined) return checkAdapter(module["adapter"], candidate);
  }
  const isOwn = Object.hasOwn(knownTypes, type) || type.includes("omniq");
  throw new OmniQError(
    "OMNIQ_ADAPTER_NOT_FOUND",
    isOwn
      ? `no adapter for type ${name}: package ${candidates[0]} is not installed where this program or ${folder} can see it; ` +
          `run \`npm install ${candidates[0]}\`, or pass the adapter in \`adapters\`${near}`
      : `no adapter for type ${name} is known: OmniQ has ${Object.keys(knownTypes).join(", ")}. Pass another one in \`adapters\`, or give the ` +
          `name of its package as type, such as @example/omniq-${type}${near}`,
  );
}

/** Makes sure that what a package or the caller gave as an adapter is one. Throws `OMNIQ_ADAPTER_INCOMPATIBLE`. */
export function checkAdapter(adapter: unknown, origin: string): AnyAdapter {
  const candidate = adapter as { readonly type?: unknown; readonly options?: unknown } | undefined;
  if (typeof adapter !== "function" || typeof candidate?.type !== "string" || typeof candidate.options !== "object") {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `${origin} has no export \`adapter\` that was made with defineAdapter`,
    );
  }
  const { contract } = candidate as { contract?: unknown };
  if (contract !== 1) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `${origin} implements contract ${typeof contract === "number" ? contract : "unknown"}, this version of @omniq/core contract 1; install versions that match`,
    );
  }
  return adapter as unknown as AnyAdapter;
}

/** What an adapter's `load` imports with: what the program itself can see first. */
export function adapterLoader(folder: string): AdapterLoader {
  return {
    import: async (specifier) => {
      const module = await importFrom(specifier, folder);
      if (module !== undefined) return module;
      throw new OmniQError(
        "OMNIQ_ADAPTER_NOT_FOUND",
        `package ${specifier} is not installed; run \`npm install ${specifier}\``,
      );
    },
  };
}

type Module = Readonly<Record<string, unknown>>;

/**
 * The module, or undefined where no such package is installed. What the program itself can see comes first: from its main module, then from core's
 * own place. The folder of the configuration file, or the working folder, comes last: others may have filled it, or what is above it.
 */
async function importFrom(specifier: string, folder: string): Promise<Module | undefined> {
  const main = mainFolder();
  const path = main === undefined ? undefined : resolveFrom(specifier, main);
  if (path !== undefined) return await load(specifier, pathToFileURL(path).href);
  try {
    return (await import(specifier)) as Module;
  } catch (cause) {
    if (!isMissing(cause, specifier)) throw notLoadable(specifier, cause);
  }
  const last = resolveFrom(specifier, folder);
  return last === undefined ? undefined : await load(specifier, pathToFileURL(last).href);
}

async function load(specifier: string, target: string): Promise<Module> {
  try {
    return (await import(target)) as Module;
  } catch (cause) {
    throw notLoadable(specifier, cause);
  }
}

function notLoadable(specifier: string, cause: unknown): OmniQError {
  return new OmniQError(
    "OMNIQ_ADAPTER_INCOMPATIBLE",
    `package ${specifier} was found, but it can't be loaded: ${reasonOf(cause)}`,
    { cause },
  );
}

/** Where the program's main module is. */
function mainFolder(): string | undefined {
  const main = process.argv[1];
  if (main === undefined || main === "") return undefined;
  try {
    return dirname(realpathSync(main));
  } catch {
    return undefined;
  }
}

function isMissing(error: unknown, specifier: string): boolean {
  const { code, message = "" } = error as { code?: unknown; message?: string };
  const names =
    message.includes(`'${specifier}'`) || message.includes(`"${specifier}"`) || message.includes(` ${specifier} `);
  return (
    names &&
    (code === "ERR_MODULE_NOT_FOUND" ||
      code === "MODULE_NOT_FOUND" ||
      /cannot find|failed to (load|resolve)/i.test(message))
  );
}

function resolveFrom(specifier: string, folder: string): string | undefined {
  try {
    return createRequire(join(folder, "omniq.js")).resolve(specifier);
  } catch {
    return resolveImportOnly(specifier, folder);
  }
}

/**
 * The main module of a package whose `exports` know only the condition `import`: `require.resolve` refuses those, and
 * `import.meta.resolve` takes no folder. Follows "PACKAGE_RESOLVE" of Node's documentation as far as "." is concerned.
 */
function resolveImportOnly(specifier: string, folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    const root = join(at, "node_modules", specifier);
    const description = join(root, "package.json");
    if (existsSync(description)) {
      const { exports } = JSON.parse(readFileSync(description, "utf8")) as { exports?: unknown };
      const main =
        typeof exports === "object" && exports !== null && "." in exports
          ? (exports as { "."?: unknown })["."]
          : exports;
      const target = pickTarget(main);
      return target !== undefined && existsSync(join(root, target)) ? join(root, target) : undefined;
    }
    if (dirname(at) === at) return undefined;
  }
}

function pickTarget(target: unknown): string | undefined {
  if (typeof target === "string") return target.startsWith("./") ? target : undefined;
  if (Array.isArray(target)) return target.map(pickTarget).find((found) => found !== undefined);
  if (typeof target !== "object" || target === null) return undefined;
  for (const [condition, value] of Object.entries(target)) {
    if (!["import", "node", "module-sync", "default"].includes(condition)) continue;
    const found = pickTarget(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
