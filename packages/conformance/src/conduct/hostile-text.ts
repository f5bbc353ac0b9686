// Hostile text: what core lets through and stores have stumbled over, by example and at random.
import fc from "fast-check";
import { maxKeyBytes } from "@omniq/core";

/** Keys that some store, path, pattern, query or object would take for something else. All pass core's `checkKey`. */
export const hostileKeys: readonly string[] = [
  " ",
  "a ",
  " a",
  "a",
  "A",
  "\t",
  "\n",
  "\r\n",
  "\u001f",
  "\u007f",
  "%",
  "_",
  "*",
  "?",
  ">",
  ".",
  "..",
  "../..",
  "/",
  "//",
  "\\",
  "a/b",
  "a.b",
  "a:b",
  "a|b",
  "a,b",
  "a;b",
  "a\u0000b".replace("\u0000", "\u0001"),
  "'",
  "''",
  '"',
  "`",
  "';--",
  "{a}",
  "{}",
  "[1]",
  "(",
  "$1",
  "${a}",
  "#",
  "~",
  "-",
  "--help",
  "null",
  "undefined",
  "true",
  "NaN",
  "0",
  "-0",
  "1e3",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "é",
  "e\u0301",
  "İ",
  "ß",
  "ẞ",
  "\u2028",
  "\u202e",
  "\u200b",
  "\ufeff",
  "\ufffd",
  "\uffff",
  "\u{10ffff}",
  "\u{1f600}",
  "CON",
  "a\u0301\u0302",
  "日本語",
  "عربي",
  "x".repeat(maxKeyBytes),
  "é".repeat(127),
  "\u{1f600}".repeat(63),
  "%s%n",
  "\\x00",
  "\\u0000",
  "&amp;",
  "<b>",
  "=1+1",
  "@a",
];

/** Any key that core lets through: 1 to 255 bytes of well-formed UTF-8 without NUL. */
export const anyKey: fc.Arbitrary<string> = fc
  .oneof(
    { weight: 3, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 64 }) },
    { weight: 1, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }) },
    { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", minLength: 1, maxLength: maxKeyBytes }) },
    { weight: 1, arbitrary: fc.constantFrom(...hostileKeys) },
  )
  .map((text) => text.replaceAll("\0", "\u0001"))
  .filter((text) => text.length > 0 && Buffer.byteLength(text) <= maxKeyBytes);

/** Any opaque text: well-formed, without NUL, also empty. */
export const anyText: fc.Arbitrary<string> = fc
  .oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.string({ unit: "grapheme", maxLength: 50 }), fc.json())
  .map((text) => text.replaceAll("\0", "\u0001"));

/** Keys that core refuses before anything is sent. */
export const refusedKeys: readonly unknown[] = [
  "",
  "\0",
  "a\0b",
  "x".repeat(maxKeyBytes + 1),
  "é".repeat(128),
  "\ud800",
  "a\udc00",
  "\udc00\ud800",
  undefined,
  null,
  1,
  {},
  ["a"],
];

/** Text of exactly this many bytes that holds quotes, backslashes and characters of one to four bytes. */
export function textOfBytes(bytes: number): string {
  const unit = "a\"\\'é\u{1f600}%\n";
  const unitBytes = Buffer.byteLength(unit);
  return unit.repeat(Math.floor(bytes / unitBytes)) + "x".repeat(bytes % unitBytes);
}
