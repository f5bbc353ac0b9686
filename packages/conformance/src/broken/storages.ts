// Broken storages: the reference's results, events and schedules with one rule broken.
import type { EventStorage, StoredEvent, StoredResult } from "@omniq/core";
import type { Rule } from "../rules.ts";
import { override, type Wreck } from "./override.ts";

interface Broken<K extends "resultStorage" | "eventStorage" | "scheduleStorage"> {
  readonly rule: Rule;
  readonly does: string;
  readonly wreck: Wreck<K>;
}

export const brokenResults: readonly Broken<"resultStorage">[] = [
  {
    rule: "result-first-wins",
    does: "overwrites",
    wreck: (storage) =>
      override(storage, {
        put: async (results, options) => {
          await storage.delete(results.map((result) => result.taskId));
          return storage.put(results, options);
        },
      }),
  },
  {
    rule: "result-wait",
    does: "answers a wait at once",
    wreck: (storage) => override(storage, { wait: (references, _ms, options) => storage.wait(references, 0, options) }),
  },
  {
    rule: "result-expiry",
    does: "shows results that are past their time",
    wreck: (storage) => {
      const kept = new Map<string, StoredResult>();
      return override(storage, {
        put: async (results, options) => {
          const stored = await storage.put(results, options);
          for (const result of stored) kept.set(result.taskId, result);
          return stored;
        },
        get: async (ids, options) =>
          (await storage.get(ids, options)).map((result, index) => result ?? kept.get(ids[index] as string)),
      });
    },
  },
];

/** A tail that leaves out every second event. */
async function* everySecond(events: AsyncIterable<StoredEvent>): AsyncGenerator<StoredEvent> {
  let index = 0;
  for await (const event of events) if ((index += 1) % 2 === 1) yield event;
}

const reversed = (storage: EventStorage): EventStorage =>
  override(storage, {
    query: async (filter, page, options) => {
      const answer = await storage.query(filter, page, options);
      return { ...answer, items: [...answer.items].reverse() };
    },
  });

export const brokenEvents: readonly Broken<"eventStorage">[] = [
  { rule: "event-order", does: "gives the latest event first", wreck: reversed },
  {
    rule: "event-query",
    does: "forgets the queue and the time of a filter",
    wreck: (storage) =>
      override(storage, {
        query: ({ taskId, types }, page, options) => storage.query({ taskId, types }, page, options),
      }),
  },
  {
    rule: "event-tail",
    does: "leaves out every second event",
    wreck: (storage) =>
      override(storage, { tail: (filter, after, options) => everySecond(storage.tail(filter, after, options)) }),
  },
];

export const brokenSchedules: readonly Broken<"scheduleStorage">[] = [
  {
    rule: "schedule-once",
    does: "advances whatever the revision",
    wreck: (storage) =>
      override(storage, {
        advance: async (id, _revision, next, options) => {
          const [stored] = await storage.get([id]);
          return stored !== undefined && storage.advance(id, stored.revision, next, options);
        },
      }),
  },
];
