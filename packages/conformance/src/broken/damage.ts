// Damage, played on the reference: what becomes of a damaged item where an adapter does the wrong thing with it.
import type { AnyBackend, DamageKind } from "../suite.ts";
import type { ComponentName } from "../suites.ts";
import type { WorldOptions } from "../world.ts";
import { durableOptions } from "./backends.ts";
import { breakComponent } from "./override.ts";

const componentOf: Readonly<Record<DamageKind, ComponentName>> = {
  task: "taskQueue",
  result: "resultStorage",
  event: "eventStorage",
  schedule: "scheduleStorage",
};

interface Named {
  readonly name: string;
}

/** Every call on a component that holds a damaged item rejects, as where a decoder throws. */
export function givingUpOptions(): WorldOptions {
  const spoiled = new Set<string>();
  const kept = durableOptions(true);
  const nameOf = (kind: ComponentName, given: Named): string => `${kind} ${given.name}`;
  const givingUp =
    (name: string) =>
    <T extends object>(component: T): T =>
      new Proxy(component, {
        get(own, key) {
          const value: unknown = Reflect.get(own, key, own);
          if (typeof value !== "function") return value;
          return (...all: unknown[]): unknown =>
            key !== "close" && key !== "tail" && spoiled.has(name)
              ? Promise.reject(new SyntaxError("Unexpected token in JSON"))
              : (value as (...those: unknown[]) => unknown).apply(own, all);
        },
      });
  return {
    ...kept,
    adapter: (given: Named) =>
      Object.values(componentOf).reduce<AnyBackend>(
        (made, kind) => breakComponent(made, kind, givingUp(nameOf(kind, given))),
        kept.adapter(given as never),
      ),
    damage: (namespace, kind) => void spoiled.add(nameOf(componentOf[kind], kept.options(namespace) as Named)),
  };
}

/** A damaged item is gone, and nobody is told. */
export function droppingOptions(): WorldOptions {
  const kept = durableOptions(true);
  return {
    ...kept,
    damage: async (namespace, kind, id) => {
      const backend = kept.adapter(kept.options(namespace) as never);
      if (kind === "task") await backend.taskQueue?.().remove([id]);
      if (kind === "result") await backend.resultStorage?.().delete([id]);
      if (kind === "schedule") await backend.scheduleStorage?.().delete([id]);
      await backend.close();
    },
  };
}
