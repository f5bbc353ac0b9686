// What is known of a store's clock from dates that have whole seconds.
import { expect, test } from "vitest";
import { StoreClock } from "../src/store-clock.ts";

function clocks(aheadMs: number) {
  const time = { store: 1_000_000_700 };
  const clock = new StoreClock(
    () => time.store + aheadMs,
    () => time.store - 999_999_000,
  );
  const hear = (): void => clock.hear(Math.floor(time.store / 1_000) * 1_000);
  return { time, clock, hear };
}

test("a machine with the right time knows the store's within the second, and later dates do not make it leap", () => {
  const { time, clock, hear } = clocks(0);
  hear();
  expect(clock.now()).toBe(time.store);
  for (let step = 0; step < 50; step++) {
    time.store += 130;
    hear();
    expect(clock.now()).toBe(time.store);
  }
});

test.each([-86_400_000, -3_000, 3_000, 86_400_000])(
  "a machine that is %i ms off is at most a second off",
  (aheadMs) => {
    const { time, clock, hear } = clocks(aheadMs);
    for (let step = 0; step < 50; step++) {
      hear();
      expect(Math.abs(clock.now() - time.store)).toBeLessThan(1_000);
      time.store += 130;
    }
  },
);

test("a store's clock that is set back is followed", () => {
  const { time, clock, hear } = clocks(0);
  hear();
  clock.hear(time.store - 60_000);
  expect(clock.now()).toBeLessThan(time.store - 50_000);
});
