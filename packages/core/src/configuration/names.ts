// Names of keys: the one spelling that they are compared in, and the nearest known name for a message.

/** `databasePath` and `database_path` are both `database_path`; hyphens and slashes of package names become underscores. */
export function canonicalName(name: string): string {
  return name
    .replace(
      /[A-Z]/g,
      (letter, index: number) => (index === 0 || name[index - 1] === "_" ? "" : "_") + letter.toLowerCase(),
    )
    .replace(/[^a-z0-9_]+/g, "_")
    .replace(/^_+(?=[a-z0-9])/, "");
}

/** Edits (insertion, deletion, replacement, swap of neighbours) between two names: optimal string alignment. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}

/** The most similar of the known names, if it is similar enough to be what was meant. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const edits = distance(name, candidate);
    if (edits < bestDistance) [best, bestDistance] = [candidate, edits];
  }
  return best;
}

/** `; did you mean port?`, or that nothing is near. */
export function suggestion(
  name: string,
  known: Iterable<string>,
  write: (name: string) => string = (found) => found,
): string {
  const found = nearestName(name, known);
  return found === undefined ? "" : `; did you mean ${write(found)}?`;
}
