// Results, events and schedules.
import type { NewEvent } from "@omniq/core";
import { chunks, map, numbers, type Dimension, type Operation, type Store } from "../dimension.ts";

const dayMs = 86_400_000;
const once =
  (work: (store: Store) => Promise<unknown>): Operation["run"] =>
  async (store) => {
    await work(store);
    return 1;
  };

const result = (
  id: string,
  ttlMs: number,
): Parameters<ReturnType<Store["backend"]["resultStorage"]>["put"]>[0][number] => ({
  taskId: id,
  run: 1,
  attempt: 1,
  name: "work",
  queue: "main",
  status: "completed",
  value: '{"answer":42}',
  ttlMs,
});
let made = 0;

export const results: Dimension = {
  name: "results",
  about: "results that are kept",
  grow: async ({ backend }, from, to) => {
    for (const part of chunks(numbers(from, to), 1_000))
      await backend.resultStorage().put(part.map((n) => result(`kept-${n}`, dayMs)));
  },
  operations: [
    {
      name: "ten results put",
      bound: 1.5,
      run: once(({ backend }) =>
        backend.resultStorage().put(Array.from({ length: 10 }, () => result(`more-${(made += 1)}`, dayMs))),
      ),
    },
    { name: "a result read", bound: 1.5, run: once(({ backend }) => backend.resultStorage().get(["kept-7"])) },
    {
      name: "a page of the list",
      bound: 1.5,
      run: once(({ backend }) => backend.resultStorage().list({}, { limit: 100 })),
    },
    {
      name: "a page of a status that none has",
      bound: 1.5,
      run: once(({ backend }) => backend.resultStorage().list({ status: "failed" }, { limit: 100 })),
    },
    { name: "a sweep with nothing due", bound: 1.5, run: once(({ backend }) => backend.resultStorage().sweep(1_000)) },
  ],
};

const event = (n: number, taskId: string): NewEvent => ({
  id: `event-${process.pid}-${n}`,
  at: Date.now(),
  type: n % 2 === 0 ? "started" : "completed",
  taskId,
  taskName: "work",
  queue: "main",
  run: 1,
  attempt: 1,
});

export const events: Dimension = {
  name: "events",
  about: "events of many tasks",
  grow: async ({ backend }, from, to) => {
    for (const part of chunks(numbers(from, to), 1_000))
      await backend.eventStorage().append(part.map((n) => event(n, `task-${n >> 2}`)));
  },
  operations: [
    {
      name: "ten events appended",
      bound: 1.5,
      run: once(({ backend }) =>
        backend.eventStorage().append(Array.from({ length: 10 }, () => event(10_000_000 + (made += 1), "another"))),
      ),
    },
    {
      name: "the events of one task",
      bound: 1.5,
      run: once(({ backend }) => backend.eventStorage().query({ taskId: "task-9" }, { limit: 100 })),
    },
    {
      name: "a page by a type that none has",
      bound: 1.5,
      run: once(({ backend }) => backend.eventStorage().query({ types: ["expired"] }, { limit: 100 })),
    },
    {
      name: "a page by time, of nothing",
      bound: 1.5,
      run: once(({ backend }) => backend.eventStorage().query({ from: 1, to: 1_000 }, { limit: 100 })),
    },
    { name: "a sweep with nothing due", bound: 1.5, run: once(({ backend }) => backend.eventStorage().sweep(1_000)) },
  ],
};

export const eventsOfOne: Dimension = {
  name: "events-of-one",
  about: "events of one task",
  largest: 30_000,
  grow: async ({ backend }, from, to) => {
    for (const part of chunks(numbers(from, to), 1_000))
      await backend.eventStorage().append(part.map((n) => event(20_000_000 + n, "one")));
  },
  operations: [
    {
      name: "one more appended",
      bound: 1.5,
      run: once(({ backend }) => backend.eventStorage().append([event(30_000_000 + (made += 1), "one")])),
    },
    {
      name: "its first page",
      bound: 1.5,
      run: once(({ backend }) => backend.eventStorage().query({ taskId: "one" }, { limit: 100 })),
    },
  ],
};

export const schedules: Dimension = {
  name: "schedules",
  about: "schedules, none due",
  largest: 100_000,
  grow: async ({ backend }, from, to) => {
    const storage = backend.scheduleStorage();
    for (const part of chunks(
      map(numbers(from, to), (n) => `schedule-${n}`),
      100,
    ))
      await Promise.all(
        part.map((id) =>
          storage.put(
            { id, rule: "{}", template: "{}", nextAt: Date.now() + dayMs, runs: 0, paused: false },
            undefined,
          ),
        ),
      );
  },
  operations: [
    { name: "looking for what is due", bound: 1.5, run: once(({ backend }) => backend.scheduleStorage().due(100)) },
    {
      name: "one put again",
      bound: 1.5,
      run: once(({ backend }) =>
        backend
          .scheduleStorage()
          .put(
            { id: "schedule-5", rule: "{}", template: "{}", nextAt: Date.now() + dayMs, runs: 0, paused: false },
            undefined,
          ),
      ),
    },
  ],
};
