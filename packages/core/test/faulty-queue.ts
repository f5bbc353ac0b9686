// A task queue with some verbs of its own in front of it.
import type { TaskQueue } from "@omniq/core";

/** Methods keep their own `this`; a verb that is `undefined` is not there. */
export function faulty(queue: TaskQueue, verbs: Partial<TaskQueue>): TaskQueue {
  return new Proxy(queue, {
    get(target, key) {
      if (key in verbs) return verbs[key as keyof TaskQueue];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
