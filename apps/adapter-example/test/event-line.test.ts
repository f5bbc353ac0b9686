// Whatever a line of the file has become, reading it gives an answer: seeded mutations of lines as they are written.
import { mutateText, seededRandom } from "@omniq/conformance";
import { expect, test } from "vitest";
import { decodeLine, lineOf, type Numbered } from "../src/event-line.ts";

const numbered: Numbered = {
  sequence: 7,
  event: { id: "a", at: 1, type: "log", taskId: "t", taskName: "n", queue: "q", run: 1, attempt: 1, data: "text" },
};

test("a line comes back as it was", () => {
  expect(decodeLine(lineOf(numbered), 6)).toEqual({ kind: "event", numbered });
  expect(decodeLine('{"last":7}', 7)).toEqual({ kind: "last", last: 7 });
});

test("a spoiled number hides no line: those after it are numbered on", () => {
  const event = { ...numbered.event };
  expect(decodeLine(lineOf({ sequence: 3, event }), 1e12)).toEqual({
    kind: "event",
    numbered: { sequence: 1e12 + 1, event },
  });
  expect(decodeLine(lineOf({ sequence: Number.MAX_SAFE_INTEGER, event }), 6)).toEqual({ kind: "event", numbered });
  expect(decodeLine('{"last":6}', 7)).toEqual({ kind: "last", last: 7 });
});

test("10,000 damaged lines are each read or set aside, and none throws", () => {
  let damaged = 0;
  for (let seed = 0; seed < 10_000; seed++) {
    const { does, value } = mutateText(seed % 10 === 0 ? '{"last":7}' : lineOf(numbered), seededRandom(seed));
    const line = decodeLine(value, 6);
    if (line.kind === "damaged") damaged++;
    else if (line.kind === "last") expect(Number.isSafeInteger(line.last), does).toBe(true);
    else {
      const { sequence, event } = line.numbered;
      expect(Number.isSafeInteger(sequence) && sequence > 6, does).toBe(true);
      expect([typeof event.id, typeof event.at, typeof event.type], does).toEqual(["string", "number", "string"]);
    }
  }
  expect(damaged).toBeGreaterThan(3_000);
});
