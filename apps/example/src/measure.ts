// What the mill measures of one document.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

export interface Measurement {
  readonly path: string;
  readonly bytes: number;
  readonly lines: number;
  readonly words: number;
  readonly links: number;
  readonly sha256: string;
  /** Compressed size divided by size; 1 for an empty file. */
  readonly gzipRatio: number;
}

/** Reads and measures a file. */
export async function measure(root: URL | string, path: string): Promise<Measurement> {
  const body = await readFile(typeof root === "string" ? `${root}/${path}` : new URL(path, root));
  const text = body.toString("utf8");
  return {
    path,
    bytes: body.byteLength,
    lines: text === "" ? 0 : text.split("\n").length - (text.endsWith("\n") ? 1 : 0),
    words: text.match(/\S+/g)?.length ?? 0,
    links: text.match(/https?:\/\/[^\s)>"'\]]+|\]\((?!https?:)[^)\s]+\)/g)?.length ?? 0,
    sha256: createHash("sha256").update(body).digest("hex"),
    gzipRatio: body.byteLength === 0 ? 1 : gzipSync(body).byteLength / body.byteLength,
  };
}
