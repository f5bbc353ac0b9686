// Checkpoints as text in pieces: a state may be larger than the longest string (512 MiB), and no store takes it in one message.
import { OmniQError } from "@omniq/core";

/** Characters of one piece, at most about. */
const pieceLength = 4_194_304;
const deepest = 8;

/**
 * Plain data as lines in pieces, each of whole lines. `#` and a path begin a list, whose items follow, one a line; `=` and a path, a space and JSON are a
 * single value. So no line is longer than one item.
 */
export function encodePieces(data: object): readonly string[] {
  const pieces: string[] = [];
  let lines: string[] = [];
  let length = 0;
  const add = (line: string): void => {
    lines.push(line);
    length += line.length + 1;
    if (length < pieceLength) return;
    pieces.push(`${lines.join("\n")}\n`);
    lines = [];
    length = 0;
  };
  const walk = (value: object, path: readonly string[]): void => {
    for (const [key, item] of Object.entries(value) as [string, unknown][]) {
      const at = [...path, key];
      if (Array.isArray(item)) {
        add(`#${JSON.stringify(at)}`);
        for (const each of item) add(JSON.stringify(each));
      } else if (typeof item === "object" && item !== null) walk(item, at);
      else if (item !== undefined) add(`=${JSON.stringify(at)} ${JSON.stringify(item)}`);
    }
  };
  walk(data, []);
  if (lines.length > 0) pieces.push(`${lines.join("\n")}\n`);
  return pieces;
}

/** What {@link encodePieces} was given, wherever the text is cut by now. Anything else is `OMNIQ_BACKEND_FAILED`. */
export function decodePieces(pieces: Iterable<string>): unknown {
  const data = bare();
  let list: unknown[] | undefined;
  try {
    for (const line of linesOf(pieces)) {
      if (line.startsWith("#")) {
        const path = readPath(line.slice(1));
        list = [];
        put(data, path, list);
      } else if (line.startsWith("=")) {
        const space = line.indexOf(" ");
        put(data, readPath(line.slice(1, space)), JSON.parse(line.slice(space + 1)));
      } else if (list === undefined) throw damagedCheckpoint();
      else list.push(JSON.parse(line));
    }
  } catch (cause) {
    throw cause instanceof OmniQError ? cause : damagedCheckpoint(cause);
  }
  return data;
}

/** For a checkpoint that is not what was written. */
export function damagedCheckpoint(cause?: unknown): OmniQError {
  return new OmniQError(
    "OMNIQ_BACKEND_FAILED",
    "A checkpoint is damaged: it cannot be read as a state; restore the store from a backup",
    cause === undefined ? {} : { cause },
  );
}

type Bare = { [key: string]: unknown };
/** Without a prototype, so that no key means more than its value. */
const bare = (): Bare => Object.create(null) as Bare;

function readPath(text: string): readonly string[] {
  const path: unknown = JSON.parse(text);
  const isPath = Array.isArray(path) && path.length > 0 && path.length <= deepest;
  if (!isPath || !path.every((key) => typeof key === "string")) throw damagedCheckpoint();
  return path as readonly string[];
}
function put(data: Bare, path: readonly string[], value: unknown): void {
  let holder = data;
  for (const key of path.slice(0, -1)) {
    const next = (holder[key] ??= bare());
    if (typeof next !== "object" || next === null || Array.isArray(next)) throw damagedCheckpoint();
    holder = next as Bare;
  }
  holder[path.at(-1) as string] = value;
}

function* linesOf(pieces: Iterable<string>): Generator<string> {
  let begun = "";
  for (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", from)) {
      yield begun + piece.slice(from, end);
      begun = "";
      from = end + 1;
    }
    begun += piece.slice(from);
  }
  if (begun !== "") yield begun;
}
