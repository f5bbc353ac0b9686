// Waiting in cases: bounded, so that a case that would hang fails with a message that says what did not come.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, type OmniQErrorCode } from "@omniq/core";

/** The promise's value, or a failure after this much real time. */
export async function within<T>(promise: Promise<T>, what: string, ms = 15_000): Promise<T> {
  const stop = new AbortController();
  const late = sleep(ms, undefined, { signal: stop.signal }).then(() => {
    throw new assert.AssertionError({ message: `${what} did not come within ${ms} ms` });
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/**
 * Marks promises that a case awaits further on. When it fails before it comes there, they reject with nobody listening (everything is
 * closed after a case), and the runner would blame that on whatever runs then.
 */
export function awaitedLater<T extends Promise<unknown> | readonly Promise<unknown>[]>(given: T): T {
  const promises: readonly Promise<unknown>[] = given instanceof Promise ? [given] : given;
  for (const promise of promises) promise.catch(() => undefined);
  return given;
}

/** Real time, for things of which only "has begun to wait" is wanted. */
export async function settleDown(ms = 60): Promise<void> {
  await sleep(ms);
}

/** Rejects with this code, and with a message for people. */
export async function rejectsWith(code: OmniQErrorCode, call: () => Promise<unknown>, what: string): Promise<void> {
  let answer: unknown;
  try {
    answer = await within(call(), what);
  } catch (error) {
    assert.ok(isOmniQError(error, code), `${what}: expected ${code}, got ${describeError(error)}`);
    assert.ok(error.message.length > 0, `${what}: the error has no message`);
    return;
  }
  assert.fail(`${what}: expected ${code}, but it answered ${JSON.stringify(answer)}`);
}

/** Name, code and message of anything thrown. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `a thrown ${typeof error}`;
  const code = (error as { code?: unknown }).code;
  return `${error.name}${code === undefined ? "" : ` ${String(code)}`}: ${error.message}`;
}
