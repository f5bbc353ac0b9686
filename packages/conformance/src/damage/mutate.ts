// Damage from a seed: what a store, an older or newer version, or somebody with a shell can make of a text that an adapter wrote.

/** What was done to a text, and what it has become. */
export interface Mutation<T> {
  readonly does: string;
  readonly value: T;
}

/** Numbers in [0, 1) that follow from the seed alone (mulberry32, public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Values that code which trusts its own store does not expect. */
const odd: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  -1e300,
  1e300,
  1.5,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  "",
  " ",
  "null",
  "__proto__",
  "constructor",
  "\u0000",
  "x".repeat(10_000),
  [],
  [null],
  {},
  { toString: null, valueOf: null },
  { length: -1 },
  { then: 1 },
];

/** Texts that are no damaged copy of anything. */
const foreign: readonly string[] = [
  "",
  "null",
  "0",
  "[]",
  "{}",
  '"text"',
  "{",
  "undefined",
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  "[".repeat(20_000),
  '{"a":'.repeat(20_000),
  `[${"0,".repeat(50_000)}0]`,
  "9".repeat(400),
  "1e999",
  "\u0000\u0001\u0002",
  "\ufeff{}",
];

const versionKeys = /^(v|version|format|epoch|kind|type)$/u;

/** How often a mutation that happened to change nothing is tried again. */
const tries = 20;

/** A damaged form of a text, always another one: of its characters, or, where it is JSON, of its structure. `random` decides. */
export function mutateText(text: string, random: () => number): Mutation<string> {
  for (let tried = 0; tried < tries; tried++) {
    const mutation = tryText(text, random);
    if (mutation.value !== text) return mutation;
  }
  return { does: "a character more", value: `${text}\u0000` };
}

function tryText(text: string, random: () => number): Mutation<string> {
  const parsed = parse(text);
  if (parsed !== undefined && random() < 0.55) return mutateJson(parsed.value, random);
  const at = Math.floor(random() * (text.length + 1));
  const kind = Math.floor(random() * 7);
  const piece = text.slice(at, at + 1 + Math.floor(random() * 16));
  if (kind === 0) return { does: `cut off at ${at}`, value: text.slice(0, at) };
  if (kind === 1) return { does: `begins at ${at}`, value: text.slice(at) };
  if (kind === 2) {
    const code = (text.charCodeAt(at) || 0) ^ (1 << Math.floor(random() * 7));
    return { does: `bit flipped at ${at}`, value: text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1) };
  }
  if (kind === 3) return { does: `piece twice at ${at}`, value: text.slice(0, at) + piece + text.slice(at) };
  if (kind === 4) return { does: `piece gone at ${at}`, value: text.slice(0, at) + text.slice(at + piece.length) };
  if (kind === 5)
    return { does: "number grown", value: text.replace(/\d+/u, (digits) => `${digits}${"9".repeat(25)}`) };
  const other = foreign[Math.floor(random() * foreign.length)] as string;
  return { does: `replaced by ${JSON.stringify(other.slice(0, 20))}`, value: other };
}

/** A damaged form of bytes, always other ones; those given stay as they are. */
export function mutateBytes(bytes: Uint8Array, random: () => number): Mutation<Uint8Array> {
  for (let tried = 0; tried < tries; tried++) {
    const mutation = tryBytes(bytes, random);
    if (!sameBytes(mutation.value, bytes)) return mutation;
  }
  return { does: "a byte more", value: Uint8Array.of(...bytes, 0) };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function tryBytes(bytes: Uint8Array, random: () => number): Mutation<Uint8Array> {
  const at = Math.floor(random() * (bytes.length + 1));
  const kind = Math.floor(random() * 5);
  if (kind === 0) return { does: `cut off at ${at}`, value: bytes.slice(0, at) };
  if (kind === 1) return { does: `begins at ${at}`, value: bytes.slice(at) };
  if (kind === 2) {
    const value = bytes.slice();
    if (at < value.length) value[at] = (value[at] as number) ^ (1 << Math.floor(random() * 8));
    return { does: `bit flipped at ${at}`, value };
  }
  if (kind === 3) {
    const value = bytes.slice();
    value.fill(Math.floor(random() * 256), at, at + 1 + Math.floor(random() * 64));
    return { does: `bytes overwritten at ${at}`, value };
  }
  const mutation = mutateText(new TextDecoder().decode(bytes), random);
  return { does: mutation.does, value: new TextEncoder().encode(mutation.value) };
}

function parse(text: string): { readonly value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { value } : undefined;
  } catch {
    return undefined;
  }
}

/** Changes one place of a JSON value: another type or number there, a field gone, a field more, or another version. */
function mutateJson(root: unknown, random: () => number): Mutation<string> {
  const places: { readonly holder: Record<string, unknown>; readonly key: string; readonly path: string }[] = [];
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      const holder = value as Record<string, unknown>;
      places.push({ holder, key, path: `${path}.${key}` });
      walk(holder[key], `${path}.${key}`);
    }
  };
  walk(root, "");
  const versions = places.filter(({ key }) => versionKeys.test(key));
  const from = versions.length > 0 && random() < 0.2 ? versions : places;
  const place = from[Math.floor(random() * from.length)];
  if (place === undefined) return { does: "replaced by null", value: "null" };
  const { holder, key, path } = place;
  const kind = Math.floor(random() * 5);
  if (kind === 0) {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else delete holder[key];
    return { does: `${path} is gone`, value: JSON.stringify(root) };
  }
  if (kind === 1 && typeof holder[key] === "number") {
    const factor = [-1, 1e9, 1e20, 0, 0.5][Math.floor(random() * 5)] as number;
    holder[key] = (holder[key] as number) * factor;
    return { does: `${path} times ${factor}`, value: JSON.stringify(root) };
  }
  if (kind === 2) {
    const text = JSON.stringify(root);
    return { does: "a prototype key more", value: text.replace(/^\{/u, '{"__proto__":{"polluted":true},') };
  }
  if (kind === 3) {
    let deep: unknown = holder[key];
    for (let depth = 0; depth < 200; depth++) deep = depth % 2 === 0 ? [deep] : { deep };
    holder[key] = deep;
    return { does: `${path} nested deeply`, value: JSON.stringify(root) };
  }
  holder[key] = odd[Math.floor(random() * odd.length)];
  return { does: `${path} is ${JSON.stringify(holder[key])?.slice(0, 40)}`, value: JSON.stringify(root) };
}
