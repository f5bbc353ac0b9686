// The lease board: what was added and not dropped is read, however often it is written anew, moved or full of long names.
import { expect, test } from "vitest";
import type { Lease } from "@omniq/core";
import { encodeEnvelope } from "../src/envelope.ts";
import { Execution } from "../src/worker/execution.ts";
import { LeaseBoard, LeaseBoardReader } from "../src/worker/lease-board.ts";

const retry = { backoff: "fixed", delayMs: 0, factor: 1, maxDelayMs: 0, jitter: 0 } as const;
function execution(taskId: string, timeoutMs: number | null = null): Execution {
  const envelope = encodeEnvelope({ retry, timeoutMs, headers: {} });
  const lease = {
    taskId,
    queue: "q",
    token: `t-${taskId}`,
    run: 2,
    attempt: 3,
    task: { id: taskId, envelope },
    sentAt: 0,
  };
  return new Execution(lease as unknown as Lease, undefined, 1_000, 0, 0);
}
const ids = (reader: LeaseBoardReader): string[] => reader.leases().map(({ taskId }) => taskId);

test("what was added and not dropped is read, with all that an extension needs", () => {
  const held = new Set<Execution>();
  const board = new LeaseBoard(
    () => held,
    () => undefined,
  );
  const reader = new LeaseBoardReader(board.memory);
  const [one, two] = [execution("ä😀", 5), execution("two")];
  for (const each of [one, two]) held.add(each);
  board.add([one, two]);
  expect(reader.leases()).toEqual([
    { taskId: "ä😀", queue: "q", token: "t-ä😀", run: 2, attempt: 3, silenceMs: 5 },
    { taskId: "two", queue: "q", token: "t-two", run: 2, attempt: 3, silenceMs: null },
  ]);
  board.drop(one);
  held.delete(one);
  expect(ids(reader)).toEqual(["two"]);
  reader.lost(reader.leases()[0]!);
  expect(ids(reader)).toEqual([]);
});

test("a board that is full is written anew, and one that is too small moves", () => {
  const held = new Set<Execution>();
  let moves = 0;
  const board: LeaseBoard = new LeaseBoard(
    () => held,
    (memory) => {
      moves++;
      reader.moved(memory);
    },
    16,
  );
  const reader = new LeaseBoardReader(board.memory);
  let made = 0;
  const add = (count: number, length = 10): void => {
    const added = Array.from({ length: count }, () => execution(String(made++).padEnd(length, "é")));
    for (const each of added) held.add(each);
    board.add(added);
  };
  const drop = (): void => {
    const [oldest] = held;
    board.drop(oldest!);
    held.delete(oldest!);
  };
  const expected = (): string[] => [...held].map(({ lease }) => lease.taskId).sort();
  add(1);
  for (let round = 0; round < 200; round++) {
    add(2);
    drop();
    drop();
    expect(ids(reader).sort()).toEqual(expected());
  }
  expect(moves).toBe(0);
  for (let round = 0; round < 50; round++) add(3, 200);
  expect(moves).toBeGreaterThan(0);
  expect(ids(reader).sort()).toEqual(expected());
  while (held.size > 0) drop();
  expect(ids(reader)).toEqual([]);
});
