// Merges what the layers say of each component, and makes the backends.
import type { AnyAdapter, BackendBase, OptionKind } from "../backend.ts";
import { isOmniQError, reasonOf } from "../errors.ts";
import { isInstance } from "../thrown-text.ts";
import { adapterLoader, checkAdapter, findAdapter, knownTypeNames, namesOf, typeOf } from "./adapters.ts";
import { componentNames, schemeOf, topLevelNames, type ComponentLayer, type Layer } from "./layers.ts";
import { canonicalName, nearestName, suggestion } from "./names.ts";
import type { Entry, Problems } from "./problems.ts";
import type { ComponentName } from "./types.ts";
import { equalValues, readValue, resolvePath } from "./values.ts";

/** A component before its adapter is known: its type, and the lowest layer that still counts. */
interface Chosen {
  readonly type: Entry & { readonly value: string };
  readonly from: number;
}
/** A component's adapter with the options for it. */
export interface Description {
  readonly adapter: AnyAdapter;
  readonly options: Readonly<Record<string, unknown>>;
  /** The entry that names the type, for messages. */
  readonly origin: Entry;
}
export type Descriptions = ReadonlyMap<ComponentName, Description | false>;
type Fields = Map<string, { readonly value: unknown; readonly entry: Entry }>;

/** What every component comes to, adapters loaded and options read. Problems are noted; such components are left out. */
export async function describeComponents(
  layers: readonly Layer[],
  given: readonly AnyAdapter[],
  folder: string,
  problems: Problems,
): Promise<Descriptions> {
  const passed = given.map((adapter) => checkAdapter(adapter, "an entry of `adapters`"));
  const chosen = new Map<ComponentName, Chosen | false>();
  for (const component of componentNames.values()) {
    const choice = choose(component, layers, passed, problems);
    if (choice !== undefined) chosen.set(component, choice);
  }
  const adapters = new Map<string, AnyAdapter>();
  for (const choice of chosen.values()) {
    if (choice === false) continue;
    const type = typeOf(choice.type.value, passed);
    if (adapters.has(type)) continue;
    try {
      adapters.set(type, await findAdapter(choice.type.value, passed, folder));
    } catch (error) {
      if (!isOmniQError(error)) throw error;
      const code = error.code === "OMNIQ_ADAPTER_NOT_FOUND" ? error.code : "OMNIQ_ADAPTER_INCOMPATIBLE";
      problems.at(choice.type, error.message, code, error.cause);
    }
  }
  const flat = layers.map((layer) =>
    assignFlat(layer, layers, [...new Set([...adapters.values(), ...passed])], folder, problems),
  );
  const descriptions = new Map<ComponentName, Description | false>();
  for (const [component, choice] of chosen) {
    if (choice === false) {
      descriptions.set(component, false);
      continue;
    }
    const adapter = adapters.get(typeOf(choice.type.value, passed));
    if (adapter === undefined) continue;
    const options = mergeOptions(component, choice, adapter, layers, flat, folder, problems);
    descriptions.set(component, { adapter, options, origin: choice.type });
  }
  return descriptions;
}

/** Finds the type that counts. A layer that changes it starts the component afresh. */
function choose(
  component: ComponentName,
  layers: readonly Layer[],
  passed: readonly AnyAdapter[],
  problems: Problems,
): Chosen | false | undefined {
  let choice: Chosen | false | undefined;
  let orphan: Entry | undefined;
  for (const [index, { components }] of layers.entries()) {
    const layer = components.get(component);
    if (layer === undefined) continue;
    if (layer.off !== undefined) {
      if (component === "taskQueue") problems.at(layer.off, "there is no OmniQ without a task queue; give it a type");
      [choice, orphan] = [false, undefined];
      continue;
    }
    const type = layer.type ?? typeFromUrl(layer);
    if (type === undefined) {
      if (!choice) orphan ??= layer.options.values().next().value;
      continue;
    }
    orphan = undefined;
    const isSame =
      choice !== undefined && choice !== false && typeOf(choice.type.value, passed) === typeOf(type.value, passed);
    // Options that a lower layer gave without any type belong to the type that comes to them here.
    choice = { type, from: choice === undefined ? 0 : isSame && choice ? choice.from : index };
  }
  if (orphan !== undefined) {
    problems.at(
      orphan,
      `belongs to a component without a type; add ${orphan.source.kind === "code" ? "its type" : "type"} beside it, such as redis`,
    );
  }
  return choice;
}

function typeFromUrl(layer: ComponentLayer): (Entry & { readonly value: string }) | undefined {
  const entry = layer.url ?? layer.options.get("url");
  const scheme = typeof entry?.value === "string" ? schemeOf(entry.value.trim()) : undefined;
  return entry === undefined || scheme === undefined ? undefined : { ...entry, value: scheme };
}

/** An adapter's options and aliases by canonical name. */
function optionTable(adapter: AnyAdapter): Map<string, { readonly name: string; readonly kind: OptionKind }> {
  const table = new Map<string, { readonly name: string; readonly kind: OptionKind }>();
  for (const [alias, name] of Object.entries(adapter.optionAliases ?? {})) {
    const kind = adapter.options[name];
    if (kind !== undefined) table.set(canonicalName(alias), { name, kind });
  }
  for (const [name, kind] of Object.entries(adapter.options)) table.set(canonicalName(name), { name, kind });
  return table;
}

function optionNames(adapter: AnyAdapter): string[] {
  return Object.keys(adapter.options).map(canonicalName);
}

/** Reads the flat options of one layer, by adapter. Options of known types that no component uses are allowed, and left alone. */
function assignFlat(
  layer: Layer,
  layers: readonly Layer[],
  adapters: readonly AnyAdapter[],
  folder: string,
  problems: Problems,
): Map<AnyAdapter, Fields> {
  const assigned = new Map<AnyAdapter, Fields>(adapters.map((adapter) => [adapter, new Map()]));
  const prefixes = new Map<string, AnyAdapter | undefined>();
  const mentioned = layers.flatMap(({ components }) => [...components.values()].map(({ type }) => type?.value));
  for (const name of [...knownTypeNames, ...mentioned])
    if (name !== undefined) prefixes.set(canonicalName(name), undefined);
  for (const adapter of adapters) for (const name of namesOf(adapter)) prefixes.set(canonicalName(name), adapter);
  for (const [name, entry] of layer.flat) {
    // The longest prefix first: another adapter's type may begin with this one's.
    const matching = [...prefixes.keys()]
      .filter((prefix) => name.startsWith(`${prefix}_`))
      .sort((a, b) => b.length - a.length);
    const target = matching
      .map((prefix) => ({ adapter: prefixes.get(prefix), rest: name.slice(prefix.length + 1) }))
      .find(({ adapter, rest }) => adapter !== undefined && optionTable(adapter).has(rest));
    if (target?.adapter !== undefined) {
      const option = optionTable(target.adapter).get(target.rest)!;
      setField(assigned.get(target.adapter)!, option, entry, folder, problems);
      continue;
    }
    const used = matching.find((prefix) => prefixes.get(prefix) !== undefined);
    if (used === undefined && matching.length > 0) continue;
    const known = [
      ...topLevelNames,
      ...[...prefixes].flatMap(([prefix, adapter]) =>
        adapter === undefined ? [] : optionNames(adapter).map((option) => `${prefix}_${option}`),
      ),
    ];
    const found = nearestName(name, known);
    problems.at(entry, `unknown key${found === undefined ? "" : `; did you mean ${spell(found, entry)}?`}`);
  }
  return assigned;
}

/** A canonical name as the user would write it there. */
function spell(name: string, like: Entry): string {
  if (like.source.kind === "environment") return `OMNIQ_${name.toUpperCase()}`;
  return like.path.includes("_") ? name : camelCase(name);
}
function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function setField(
  fields: Fields,
  option: { readonly name: string; readonly kind: OptionKind },
  entry: Entry,
  folder: string,
  problems: Problems,
): void {
  const earlier = fields.get(option.name);
  if (earlier !== undefined) problems.at(entry, `given twice, here and as ${earlier.entry.path}; keep one of them`);
  const value = readValue(option.kind, entry, folder, problems);
  if (value !== undefined) fields.set(option.name, { value, entry });
}

/** Options of one component: of each layer first the flat ones, then the URL's, then the component's own. */
function mergeOptions(
  component: ComponentName,
  choice: Chosen,
  adapter: AnyAdapter,
  layers: readonly Layer[],
  flat: readonly Map<AnyAdapter, Fields>[],
  folder: string,
  problems: Problems,
): Readonly<Record<string, unknown>> {
  const table = optionTable(adapter);
  let merged: Fields = new Map();
  const add = (fields: Fields): void => {
    for (const [name, field] of fields) merged.set(name, field);
  };
  for (const [index, { components }] of layers.entries()) {
    const shared = flat[index]!.get(adapter)!;
    const layer = index < choice.from ? undefined : components.get(component);
    const own: Fields = new Map();
    let url: Entry | undefined = layer?.url;
    for (const [name, entry] of layer?.options ?? []) {
      const option = table.get(name);
      if (option !== undefined) setField(own, option, entry, folder, problems);
      else if (name !== "url")
        problems.at(entry, `unknown key${suggestOption(entry, name, [...optionNames(adapter), "type"])}`);
      else if (url === undefined) url = entry;
      else problems.at(entry, `given twice, here and as ${url.path}; keep one of them`);
    }
    // A URL describes a whole connection: a password of a lower layer belongs to the address it stood beside.
    if (url !== undefined) merged = new Map();
    add(shared);
    if (url !== undefined) add(fieldsOfUrl(url, adapter, folder, problems));
    add(own);
  }
  return Object.fromEntries([...merged].map(([name, { value }]) => [name, value]));
}

function suggestOption(entry: Entry, name: string, known: readonly string[]): string {
  const isSnake = entry.source.kind !== "code" || entry.path.includes("_");
  return suggestion(name, known, (found) => (isSnake ? found : camelCase(found)));
}

function fieldsOfUrl(entry: Entry, adapter: AnyAdapter, folder: string, problems: Problems): Fields {
  const fields: Fields = new Map();
  const url = typeof entry.value === "string" ? entry.value.trim() : "";
  const scheme = schemeOf(url);
  if (scheme === undefined || !namesOf(adapter).includes(scheme)) {
    problems.at(entry, `must be a URL whose scheme is one of ${namesOf(adapter).join(", ")}`);
  } else if (adapter.fromUrl === undefined) {
    problems.at(
      entry,
      `the adapter ${adapter.type} takes no URL; describe it with type: ${adapter.type} and its options`,
    );
  } else {
    try {
      for (const [name, value] of Object.entries(adapter.fromUrl(url))) {
        if (value === undefined) continue;
        const isPath = adapter.options[name] === "path" && typeof value === "string";
        fields.set(name, { value: isPath ? resolvePath(value, folder) : value, entry });
      }
    } catch (error) {
      // Other errors, as those of `new URL`, carry the URL and with it the password.
      problems.at(
        entry,
        isOmniQError(error) ? error.message : `is not a URL that the adapter ${adapter.type} can read`,
      );
    }
  }
  return fields;
}

/** Makes one backend for each set of equal descriptions. When one fails, those made before it are closed. */
export async function makeBackends(
  descriptions: Descriptions,
  folder: string,
  problems: Problems,
): Promise<ReadonlyMap<ComponentName, BackendBase | false>> {
  const made: { readonly description: Description; readonly backend: BackendBase }[] = [];
  const result = new Map<ComponentName, BackendBase | false>();
  try {
    for (const [component, description] of descriptions) {
      if (description === false) {
        result.set(component, false);
        continue;
      }
      const { adapter, options, origin } = description;
      const equal = made.find(
        (other) => other.description.adapter === adapter && equalValues(other.description.options, options),
      );
      const backend = equal?.backend ?? (await make(description, folder, problems));
      if (backend === undefined) continue;
      if (equal === undefined) made.push({ description, backend });
      if (typeof (backend as unknown as Record<string, unknown>)[component] === "function")
        result.set(component, backend);
      else problems.at(origin, `the adapter ${adapter.type} has no ${componentWords(component)}`);
    }
    problems.throwIfAny();
    return result;
  } catch (error) {
    await Promise.allSettled(made.map(({ backend }) => backend.close()));
    throw error;
  }
}

function componentWords(component: ComponentName): string {
  return canonicalName(component).replace("_", " ");
}

async function make(description: Description, folder: string, problems: Problems): Promise<BackendBase | undefined> {
  const { adapter, options, origin } = description;
  try {
    const hasCode = Object.keys(options).some((name) => adapter.options[name] === "code");
    // Objects made in code are what `create` takes; `load` is for what a file can say.
    if (adapter.load === undefined || hasCode) return adapter(options) as BackendBase;
    return await (adapter.load as (options: unknown, loader: unknown) => Promise<BackendBase>)(
      options,
      adapterLoader(folder),
    );
  } catch (error) {
    if (isOmniQError(error)) {
      const isOwn = error.code === "OMNIQ_ADAPTER_NOT_FOUND" || error.code === "OMNIQ_ADAPTER_INCOMPATIBLE";
      // What an adapter says of its options is one problem of the configuration; anything else is not the configuration's.
      if (!isOwn && error.code !== "OMNIQ_INVALID_OPTION" && error.code !== "OMNIQ_CONFIG_INVALID") throw error;
      // The cause of what an adapter says of its options may hold them: the error of `new URL` has the whole URL, with its password.
      problems.at(
        origin,
        redact(error, description),
        isOwn ? (error.code as "OMNIQ_ADAPTER_NOT_FOUND") : "OMNIQ_CONFIG_INVALID",
        isOwn ? error.cause : undefined,
      );
    } else {
      problems.at(origin, `the adapter ${adapter.type} could not make a backend: ${redact(error, description)}`);
    }
    return undefined;
  }
}

/** The message of a foreign error without the secrets that it may quote. */
function redact(error: unknown, { adapter, options }: Description): string {
  let message = isInstance(error, Error) ? reasonOf(error) : "it threw something that is not an error";
  for (const [name, value] of Object.entries(options)) {
    const isSecret = adapter.options[name] === "secret" || adapter.options[name] === "record";
    const texts = isSecret
      ? typeof value === "string"
        ? [value]
        : Object.values(value as object).filter((item) => typeof item === "string")
      : [];
    for (const text of texts) if (text !== "") message = message.replaceAll(text, "…");
  }
  return message;
}
