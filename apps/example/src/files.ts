// Which files the mill takes from a folder.
import { readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";

const left = new Set(["node_modules", "dist", ".git", ".turbo", "coverage", ".omniq"]);
const taken = /\.(md|ts|js|mjs|json|ya?ml|txt|html|css|sql|lua|sh)$/;

/** Text files below a folder, in order, as paths with forward slashes. */
export async function findFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (current: string): Promise<void> => {
    for (const entry of await readdir(current, { withFileTypes: true })) {
      if (left.has(entry.name)) continue;
      const path = join(current, entry.name);
      if (entry.isDirectory()) await visit(path);
      else if (entry.isFile() && taken.test(entry.name)) found.push(relative(folder, path).split(sep).join("/"));
    }
  };
  await visit(folder);
  return found.sort();
}
