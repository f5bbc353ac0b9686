// Progress on stderr: a bar on a terminal, else a line for each run. Only between runs, so that it takes nothing from them.
import { SingleBar } from "cli-progress";

export interface Progress {
  at(what: string): void;
  end(): void;
}

export function startProgress(total: number): Progress {
  if (!process.stderr.isTTY) return { at: (what) => console.error(what), end: () => {} };
  const bar = new SingleBar({
    format: "{bar} {value}/{total} {what}",
    barsize: 20,
    clearOnComplete: true,
    linewrap: false,
    stream: process.stderr,
  });
  bar.start(total, 0, { what: "" });
  let begun = 0;
  return {
    at: (what) => bar.update(begun++, { what }),
    end: () => bar.stop(),
  };
}
