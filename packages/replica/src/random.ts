// Randomness that every replica agrees on: numbers derived from the commit's id and a running count of draws.

function mix(value: number): number {
  // The finaliser of MurmurHash3 (public domain): every input bit reaches every output bit.
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** 32 bits from a text and a number. FNV-1a over the text, then mixed with the number. */
export function hash32(text: string, draw: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(mix(hash ^ (draw >>> 0)) + Math.imul(draw, 0x9e3779b1) + Math.floor(draw / 4_294_967_296));
}

/** A whole number from 0 to `maximum`, both included. */
export function drawInteger(seed: string, draw: number, maximum: number): number {
  return Math.floor((hash32(seed, draw) / 4_294_967_296) * (maximum + 1));
}

/** A lease token. `draw` makes it unique in one history, the seed (a random commit id) across histories. */
export function drawToken(seed: string, draw: number): string {
  return `${draw.toString(36)}-${hash32(seed, draw).toString(36)}${hash32(`${seed}/`, draw).toString(36)}`;
}
