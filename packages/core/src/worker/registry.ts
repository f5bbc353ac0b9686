// The task definitions that a worker was given, by name: it runs these and nothing else.
import { definitionOf, type Definition, type HandlerDefinition } from "../definition.ts";
import { OmniQError } from "../errors.ts";

/** A definition that has its handler. */
export type Workable = Definition & { readonly handler: HandlerDefinition };
export type Registry = ReadonlyMap<string, Workable>;

/** By name. Throws `OMNIQ_INVALID_OPTION` for what is no task, has no handler, or shares its name with another. */
export function registryOf(tasks: readonly unknown[]): Registry {
  const registry = new Map<string, Workable>();
  for (const task of tasks) {
    const definition = definitionOf(task);
    if (definition === undefined)
      throw new OmniQError("OMNIQ_INVALID_OPTION", "worker: each of tasks must come from defineTask(...)");
    if (definition.handler === undefined) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `worker: the task ${JSON.stringify(definition.name)} has no handler; give it one with implement(...)`,
      );
    }
    const other = registry.get(definition.name);
    if (other !== undefined && other !== definition) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `worker: two tasks are named ${JSON.stringify(definition.name)}; a name has one handler`,
      );
    }
    registry.set(definition.name, definition as Workable);
  }
  return registry;
}

/** Imports the modules and takes the task implementations among their exports. Throws `OMNIQ_INVALID_OPTION`, which names the module. */
export async function loadModules(modules: readonly string[]): Promise<Registry> {
  const tasks: unknown[] = [];
  for (const module of modules) {
    let exports: Readonly<Record<string, unknown>>;
    try {
      exports = (await import(/* @vite-ignore */ module)) as Readonly<Record<string, unknown>>;
    } catch (cause) {
      throw new OmniQError("OMNIQ_INVALID_OPTION", `worker: the module ${module} cannot be loaded; see the cause`, {
        cause,
      });
    }
    const found = Object.values(exports).filter((value) => definitionOf(value)?.handler !== undefined);
    if (found.length === 0) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `worker: the module ${module} exports no task with a handler; export what defineTask({ ..., run }) or implement(...) gives`,
      );
    }
    tasks.push(...found);
  }
  return registryOf(tasks);
}
