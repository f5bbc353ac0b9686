// Sets the wall clock of a process while it runs, by libfaketime; its monotonic clock, and with it all timers, stay as they are.
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Where Debian and others install the library. */
export function clockLibrary(): string | undefined {
  const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].flatMap((base) => [
    base,
    ...(existsSync(base) ? readdirSync(base).map((name) => `${base}/${name}`) : []),
  ]);
  return folders.map((folder) => `${folder}/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path));
}

/**
 * What a process is started with so that {@link setClock} on the file sets its clock. Over the environment of the process that starts it: the
 * library hands a semaphore on to children, at which all of them would wait for ever once one was killed that held it.
 */
export function clockEnvironment(library: string, file: string): Record<string, string | undefined> {
  return {
    FAKETIME_SHARED: undefined,
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

/** Removes what the library keeps of a process in shared memory; one that was killed could not. */
export function forgetClock(pid: number): void {
  for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`]) rmSync(`/dev/shm/${name}`, { force: true });
}
