// Reads the layers of configuration from where they were written: a file, the environment, code.
import { readFile } from "node:fs/promises";
import { dirname, extname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { OmniQError } from "../errors.ts";
import { describeType } from "../limits.ts";
import { parseJson } from "./json.ts";
import { canonicalName } from "./names.ts";
import { isPlainObject, readKeys, type Entry, type Problems, type Source } from "./problems.ts";
import type { LoadOptions } from "./types.ts";

/** A layer: top-level entries by canonical name. */
export interface RawLayer {
  readonly source: Source;
  readonly entries: ReadonlyMap<string, Entry>;
}

/** The variable that names the configuration file. */
export const fileVariable = "OMNIQ_CONFIG";
const prefix = "OMNIQ_";
/** Variables of test suites, which say where servers are. */
const testPrefix = "OMNIQ_TEST_";

/** All layers, lowest first, and the folder that relative paths and packages count from. */
export async function readSources(
  options: LoadOptions,
  problems: Problems,
): Promise<{ readonly layers: readonly RawLayer[]; readonly folder: string }> {
  const variables = options.environment === false ? {} : (options.environment ?? process.env);
  const file = options.file ?? (variables[fileVariable] || undefined);
  const layers: RawLayer[] = [];
  let folder = process.cwd();
  if (file !== undefined) {
    const path =
      file instanceof URL ? pathOf(file) : file.startsWith("file://") ? pathOf(new URL(file)) : resolve(file);
    folder = dirname(path);
    layers.push(await readConfigurationFile(path, typeof file === "string" ? file : path, problems));
  }
  layers.push(readEnvironment(variables));
  if (options.config !== undefined) {
    const source: Source = { kind: "code", label: "code" };
    if (isPlainObject(options.config)) layers.push({ source, entries: readKeys(options.config, "", source, problems) });
    else problems.add(`config (code): must be an object, not ${describeType(options.config)}`);
  }
  return { layers, folder };
}

function pathOf(url: URL): string {
  if (url.protocol === "file:") return fileURLToPath(url);
  throw new OmniQError(
    "OMNIQ_CONFIG_INVALID",
    `The configuration file must be a path or a file: URL, not a ${url.protocol} URL`,
  );
}

/**
 * Kubernetes and Docker tell every container of the services beside it: one named `omniq-web` gives `OMNIQ_WEB_SERVICE_HOST`,
 * `OMNIQ_WEB_PORT=tcp://10.0.0.1:80` and more. Those are no configuration of OmniQ's.
 */
function isOfService(name: string, value: string): boolean {
  if (/_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/.test(name)) return true;
  if (/_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/.test(name)) return true;
  return name.endsWith("_PORT") && /^(?:tcp|udp|sctp):\/\//i.test(value);
}

function readEnvironment(variables: Readonly<Record<string, string | undefined>>): RawLayer {
  const source: Source = { kind: "environment", label: "environment" };
  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(variables)) {
    if (!name.startsWith(prefix) || name.startsWith(testPrefix) || name === fileVariable || !value) continue;
    if (isOfService(name, value)) continue;
    entries.set(canonicalName(name.slice(prefix.length).toLowerCase()), { path: name, value, text: true, source });
  }
  return { source, entries };
}

async function readConfigurationFile(path: string, label: string, problems: Problems): Promise<RawLayer> {
  const source: Source = { kind: "file", label };
  const extension = extname(path).toLowerCase();
  const isYaml = extension === ".yaml" || extension === ".yml";
  if (!isYaml && extension !== ".json") {
    throw new OmniQError("OMNIQ_CONFIG_INVALID", `The configuration file ${label} must end in .yaml, .yml or .json`);
  }
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === "ENOENT"
        ? "does not exist"
        : `can't be read (${(cause as NodeJS.ErrnoException).code})`;
    throw new OmniQError("OMNIQ_CONFIG_INVALID", `The configuration file ${label} ${reason}; looked at ${path}`, {
      cause,
    });
  }
  const parsed = isYaml ? await parseYaml(text) : parseJson(text);
  // Nothing else can be said of a file that does not parse, and the other layers may only make sense on top of it.
  if ("problem" in parsed)
    throw new OmniQError("OMNIQ_CONFIG_INVALID", `The configuration file ${label} is ${parsed.problem}`);
  const value = parsed.value ?? {};
  if (!isPlainObject(value)) {
    problems.add(`${label}: must hold a map of keys, not ${describeType(value)}`);
    return { source, entries: new Map() };
  }
  return { source, entries: readKeys(value, "", source, problems) };
}

async function parseYaml(text: string): Promise<{ readonly value: unknown } | { readonly problem: string }> {
  // Loaded only here: who writes no YAML never pays for the parser.
  const { LineCounter, parseDocument } = await import("yaml");
  const lines = new LineCounter();
  try {
    // The core schema makes plain data only; tags that it does not know are refused rather than guessed at.
    const document = parseDocument(text, {
      schema: "core",
      merge: true,
      prettyErrors: false,
      lineCounter: lines,
      logLevel: "silent",
    });
    const wrong = document.errors[0] ?? document.warnings[0];
    if (wrong === undefined) return { value: document.toJS({ maxAliasCount: 100 }) as unknown };
    const { line, col } = lines.linePos(wrong.pos[0]);
    // What follows a colon in the parser's message quotes the text, which may hold a password.
    const reason = wrong.message.replace(/:\s[^]*$/, "").replace(/"[^]*"/, "…");
    return { problem: `not valid YAML: ${reason} at line ${line}, column ${col}` };
  } catch {
    return { problem: "not valid YAML: its aliases can't be resolved or multiply too far, or it is nested too deeply" };
  }
}
