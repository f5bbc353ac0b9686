// Breaking one behaviour of a component and leaving the rest as it is.
import type { Components } from "@omniq/core";
import type { AnyBackend } from "../suite.ts";

/** The component with some members in place of its own. Everything else, and `this`, stay the component's. */
export function override<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(own, key) {
      if (Object.hasOwn(members, key)) return members[key as keyof T];
      const value: unknown = Reflect.get(own, key, own);
      return typeof value === "function" ? value.bind(own) : value;
    },
    has: (own, key) => (Object.hasOwn(members, key) ? members[key as keyof T] !== undefined : key in own),
  });
}

/** Makes one component wrong. `backend` is the one that it belongs to. */
export type Wreck<K extends keyof Components> = (component: Components[K], backend: AnyBackend) => Components[K];

/** The backend with one component broken; its maker answers with the same one each time. */
export function breakComponent<K extends keyof Components>(backend: AnyBackend, kind: K, wreck: Wreck<K>): AnyBackend {
  const make = backend[kind] as () => Components[K];
  let broken: Components[K] | undefined;
  return override(backend, { [kind]: () => (broken ??= wreck(make.call(backend), backend)) } as Partial<AnyBackend>);
}
