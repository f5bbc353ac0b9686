// Sorts the entries of one layer: descriptions of components, settings, and flat options of adapters.
import { parseJson } from "./json.ts";
import { isPlainObject, readKeys, type Entry, type Problems, type Source } from "./problems.ts";
import { settingNames } from "./settings.ts";
import type { RawLayer } from "./sources.ts";
import type { ComponentName } from "./types.ts";

/** Component fields of the client by their canonical names. */
export const componentNames: ReadonlyMap<string, ComponentName> = new Map([
  ["task_queue", "taskQueue"],
  ["result_storage", "resultStorage"],
  ["event_storage", "eventStorage"],
  ["schedule_storage", "scheduleStorage"],
]);

/** What one layer says of one component. */
export interface ComponentLayer {
  /** `false` or `none` was given. */
  off?: Entry;
  type?: Entry & { readonly value: string };
  /** A URL in place of a description: its scheme names the adapter. */
  url?: Entry & { readonly value: string };
  /** Options by canonical name. */
  options: Map<string, Entry>;
}
export interface Layer {
  readonly source: Source;
  readonly components: ReadonlyMap<ComponentName, ComponentLayer>;
  /** `defaults`, `log_level` and their like. */
  readonly settings: ReadonlyMap<string, Entry>;
  /** `redis_host` and its like, which apply to every component of that type. */
  readonly flat: ReadonlyMap<string, Entry>;
}

/** Sorts one layer. Flat names are only understood later, when the adapters are known. */
export function sortLayer(raw: RawLayer, problems: Problems): Layer {
  const components = new Map<ComponentName, ComponentLayer>();
  const settings = new Map<string, Entry>();
  const flat = new Map<string, Entry>();
  const component = (name: ComponentName): ComponentLayer => {
    const made = components.get(name) ?? { options: new Map() };
    components.set(name, made);
    return made;
  };
  for (const [name, entry] of raw.entries) {
    const nested = componentNames.get(name);
    if (nested !== undefined) readDescription(component(nested), entry, problems);
    else if (settingNames.has(name)) settings.set(name, entry);
    else {
      const prefix = [...componentNames.keys()].find((key) => name.startsWith(`${key}_`));
      const field = prefix === undefined ? "" : name.slice(prefix.length + 1);
      // Only variables have no other way to write an option of one component; elsewhere the nested form is there.
      const isOfComponent = field === "type" || field === "url" || raw.source.kind === "environment";
      if (prefix !== undefined && isOfComponent)
        setField(component(componentNames.get(prefix)!), field, entry, problems);
      else flat.set(name, entry);
    }
  }
  for (const layer of components.values()) {
    const other = layer.type ?? layer.url ?? layer.options.values().next().value;
    if (layer.off !== undefined && other !== undefined)
      problems.at(other, `contradicts ${layer.off.path}, which turns the component off`);
  }
  return { source: raw.source, components, settings, flat };
}

function setField(layer: ComponentLayer, field: string, entry: Entry, problems: Problems): void {
  if (field !== "type" && field !== "url") {
    setOption(layer, field, entry, problems);
    return;
  }
  const text = typeof entry.value === "string" ? entry.value.trim() : entry.value;
  if (field === "type" && (text === false || text === "none")) {
    layer.off = entry;
  } else if (typeof text !== "string" || text === "") {
    problems.at(entry, field === "type" ? "must be the name of an adapter, such as redis" : "must be a URL");
  } else if (field === "type" && text.includes("://")) {
    problems.at(entry, "is a URL; give it as `url`, or in place of the description");
  } else if (field === "url" && schemeOf(text) === undefined) {
    problems.at(entry, "is not a URL: its scheme must name the adapter, such as redis://localhost");
  } else {
    const earlier = layer[field];
    if (earlier !== undefined) problems.at(entry, `given twice, here and as ${earlier.path}; keep one of them`);
    else layer[field] = { ...entry, value: text };
  }
}

function setOption(layer: ComponentLayer, name: string, entry: Entry, problems: Problems): void {
  const earlier = layer.options.get(name);
  if (earlier === undefined) layer.options.set(name, entry);
  else problems.at(entry, `given twice, here and as ${earlier.path}; keep one of them`);
}

/** `task_queue: …` itself: a map, a URL, or false. */
function readDescription(layer: ComponentLayer, entry: Entry, problems: Problems): void {
  let value = entry.value;
  if (entry.text) {
    const text = (value as string).trim();
    if (text === "false") value = false;
    else if (text.startsWith("{")) {
      const parsed = parseJson(text);
      if ("problem" in parsed) return problems.at(entry, parsed.problem);
      value = parsed.value;
    } else value = text;
  }
  if (value === false || value === "none") {
    layer.off = entry;
  } else if (typeof value === "string" && schemeOf(value) !== undefined) {
    setField(layer, "url", { ...entry, value }, problems);
  } else if (isPlainObject(value)) {
    for (const [name, field] of readKeys(value, entry.path, entry.source, problems)) {
      // `url` inside a description may be an option of the adapter's own, so it is told apart later.
      if (name === "url") setOption(layer, name, field, problems);
      else setField(layer, name, field, problems);
    }
  } else {
    const hint = typeof value === "object" && value !== null ? "; backends and components go to `new OmniQ(…)`" : "";
    problems.at(entry, `must be a description with a type, such as { type: memory }, a URL, or false${hint}`);
  }
}

/** The scheme of a URL, in lower case. One letter is a drive: `C:\queue`. */
export function schemeOf(url: string): string | undefined {
  return /^([a-z][a-z0-9+.-]+):\S/i.exec(url.trim())?.[1]?.toLowerCase();
}

/** All top-level names that do not depend on adapters. */
export const topLevelNames: readonly string[] = [
  ...settingNames,
  ...[...componentNames.keys()].flatMap((name) => [name, `${name}_type`, `${name}_url`]),
];
