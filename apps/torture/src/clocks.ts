// Sets the wall clock of a process while it runs, by libfaketime; its monotonic clock, and with it all timers, stay as they are.
import { existsSync, readdirSync, renameSync, writeFileSync } from "node:fs";

/** Where Debian and others install the library. */
export function clockLibrary(): string | undefined {
  const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].flatMap((base) => [
    base,
    ...(existsSync(base) ? readdirSync(base).map((name) => `${base}/${name}`) : []),
  ]);
  return folders.map((folder) => `${folder}/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path));
}

/** What a process is started with so that {@link setClock} on the file sets its clock, and those of processes that it starts. */
export function clockEnvironment(library: string, file: string): Record<string, string> {
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    // The file is read at every look at the clock.
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
}

/** How far the clock is off from now on, in milliseconds; 0 is right. */
export function setClock(file: string, offMs: number): void {
  writeFileSync(`${file}.next`, `${offMs < 0 ? "-" : "+"}${(Math.abs(offMs) / 1_000).toFixed(3)}`, { mode: 0o644 });
  renameSync(`${file}.next`, file);
}
