// The kit's damage is the same for the same seed, always another text, and of every kind.
import { mutateBytes, mutateText, seededRandom } from "@omniq/conformance";
import { describe, expect, test } from "vitest";

const texts: readonly string[] = [
  "",
  "plain",
  "0",
  "[]",
  "{}",
  "null",
  '{"v":1,"id":"a","at":1700000000000,"tags":["x",{"deep":[1,2]}],"none":null}',
  '[0,[0],{"version":0,"kind":"task"}]',
  '{"toString":null}',
  "ünïcödé 語 🎉",
];
const seeds = 3_000;
const kinds: readonly RegExp[] = [
  /^a prototype key more$/u,
  /^begins at \d+$/u,
  /^bit flipped at \d+$/u,
  /^cut off at \d+$/u,
  /^number grown$/u,
  /^piece gone at \d+$/u,
  /^piece twice at \d+$/u,
  /^\..+ is gone$/u,
  /^\..+ is (?!gone)/u,
  /^\..+ nested deeply$/u,
  /^\..+ times /u,
  /^replaced by /u,
];

describe("damage from a seed", () => {
  test("numbers follow from the seed alone, lie in [0, 1), and differ between seeds", () => {
    const numbers = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 100 }, () => random());
    };
    expect(numbers(7)).toEqual(numbers(7));
    expect(numbers(7)).not.toEqual(numbers(8));
    expect(numbers(7).every((one) => one >= 0 && one < 1)).toBe(true);
    expect(new Set(numbers(7)).size).toBe(100);
  });

  test("a text becomes another one, the same for the same seed, by every kind of damage", () => {
    const seen = new Set<RegExp>();
    for (let seed = 0; seed < seeds; seed++) {
      const text = texts[seed % texts.length] as string;
      const mutation = mutateText(text, seededRandom(seed));
      expect(mutateText(text, seededRandom(seed))).toEqual(mutation);
      expect(mutation.value, `seed ${seed}: ${mutation.does}`).not.toBe(text);
      const kind = kinds.filter((one) => one.test(mutation.does));
      expect(kind, mutation.does).toHaveLength(1);
      seen.add(kind[0] as RegExp);
    }
    expect(kinds.filter((kind) => !seen.has(kind))).toEqual([]);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test("bytes become others, the same for the same seed, and those given stay as they are", () => {
    for (let seed = 0; seed < seeds; seed++) {
      const bytes = new TextEncoder().encode(texts[seed % texts.length]);
      const before = bytes.slice();
      const mutation = mutateBytes(bytes, seededRandom(seed));
      const again = mutateBytes(bytes, seededRandom(seed));
      expect(Buffer.compare(again.value, mutation.value), mutation.does).toBe(0);
      expect(Buffer.compare(mutation.value, before), `seed ${seed}: ${mutation.does}`).not.toBe(0);
      expect(Buffer.compare(bytes, before)).toBe(0);
    }
  });
});
