// Reads JSON and says where it is wrong by line and column, without quoting it: it may hold passwords.

/** The offset of the first character that is not JSON, as RFC 8259 has it. */
function offsetOfError(text: string): number {
  let at = 0;
  const space = (): void => {
    while (at < text.length && " \t\r\n".includes(text[at]!)) at++;
  };
  const token = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at += found[0].length;
    return found !== null;
  };
  // oxlint-disable-next-line no-control-regex -- control characters are what JSON forbids in strings
  const string = (): boolean => token(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y);
  const list = (end: string, item: () => boolean): boolean => {
    at++;
    space();
    if (text[at] === end) return at++ >= 0;
    for (;;) {
      space();
      if (!item()) return false;
      space();
      if (text[at] === end) return at++ >= 0;
      if (text[at] !== ",") return false;
      at++;
    }
  };
  const value = (): boolean => {
    space();
    if (text[at] === "[") return list("]", value);
    if (text[at] === "{") {
      return list("}", () => {
        if (!string()) return false;
        space();
        if (text[at] !== ":") return false;
        at++;
        return value();
      });
    }
    return string() || token(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y);
  };
  if (value()) space();
  return at;
}

/** The parsed value, or where the text stops being JSON. */
export function parseJson(text: string): { readonly value: unknown } | { readonly problem: string } {
  // A byte-order mark is not JSON, but editors write it.
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  try {
    return { value: JSON.parse(body) as unknown };
  } catch {
    let offset: number;
    try {
      offset = offsetOfError(body);
    } catch {
      // The stack is used up: thousands of levels.
      return { problem: "not valid JSON: it is nested too deeply to say where" };
    }
    const before = body.slice(0, offset).split("\n");
    const what = offset >= body.length ? "it ends too early" : "unexpected character";
    return { problem: `not valid JSON: ${what} at line ${before.length}, column ${before.at(-1)!.length + 1}` };
  }
}
