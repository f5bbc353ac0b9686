// Configuration: from code, a JSON or YAML file and the environment to the client's options.
import type { BackendBase } from "../backend.ts";
import { describeComponents, makeBackends, type Description } from "./components.ts";
import { sortLayer } from "./layers.ts";
import { Problems } from "./problems.ts";
import { readSettings } from "./settings.ts";
import { readSources } from "./sources.ts";
import type { ComponentName, ConfiguredOptions, LoadOptions } from "./types.ts";
import { equalValues } from "./values.ts";

export type { ConfiguredOptions, LoadOptions, OmniQConfig } from "./types.ts";

/**
 * Reads all layers (defaults < file < environment < code), loads the adapters and makes the backends; equal descriptions share
 * one. Connects to nothing. Rejects with `OMNIQ_CONFIG_INVALID`, `OMNIQ_ADAPTER_NOT_FOUND` or `OMNIQ_ADAPTER_INCOMPATIBLE`; the
 * message lists every problem with its key and where it stands, and never a value that may be secret.
 */
export async function resolveConfiguration(options: LoadOptions = {}): Promise<ConfiguredOptions> {
  const problems = new Problems();
  const { layers: raw, folder } = await readSources(options, problems);
  const layers = raw.map((layer) => sortLayer(layer, problems));
  const settings = readSettings(layers, problems);
  const descriptions = new Map(await describeComponents(layers, options.adapters ?? [], folder, problems));
  if (!descriptions.has("taskQueue")) {
    const described = [...descriptions.values()].filter((description) => description !== false);
    const isOne = described.every((other) => sameDescription(other, described[0]!));
    if (described[0] !== undefined && isOne) descriptions.set("taskQueue", described[0]);
    else if (!problems.any) {
      const which = described.length === 0 ? "" : ", and the other components are in several backends";
      problems.add(
        `no task queue is described${which}; set task_queue in a file, OMNIQ_TASK_QUEUE_TYPE in the environment, or taskQueue in code`,
      );
    }
  }
  problems.throwIfAny();
  const backends = await makeBackends(descriptions, folder, problems);
  const component = (name: ComponentName): Record<string, BackendBase | false> => {
    const backend = backends.get(name);
    return backend === undefined ? {} : { [name]: backend };
  };
  const { defaults, queues, logLevel, defaultWorkerKind } = settings;
  // Each component was seen to have its maker, which the types can't follow through a map.
  return {
    ...component("taskQueue"),
    ...component("resultStorage"),
    ...component("eventStorage"),
    ...component("scheduleStorage"),
    ...(defaults !== undefined && { defaults }),
    ...(queues !== undefined && { queues }),
    ...(logLevel !== undefined && { logLevel }),
    ...(defaultWorkerKind !== undefined && { defaultWorkerKind }),
    ...(options.serializer !== undefined && { serializer: options.serializer }),
    ...(options.logger !== undefined && { logger: options.logger }),
  } as unknown as ConfiguredOptions;
}

function sameDescription(a: Description, b: Description): boolean {
  return a.adapter === b.adapter && equalValues(a.options, b.options);
}
