// Settlements that a backend refuses for good: one must not hold back the others, and its task must not come again and again for it.
import type { Settlement } from "../contracts/index.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import { admit, type AdmissionHost } from "./admission.ts";
import type { Ending, Item } from "./ending.ts";
import { describeThrown } from "./error-copy.ts";
import { safeErrorText } from "./failures.ts";

/**
 * Settles each of the items by itself as far as that is needed. What the backend refuses alone is sent without its events, then as a failed
 * attempt with that error in a text that any store takes; if that is refused, too, the lease runs out. Gives those whose backend went away
 * meanwhile: they are sent again.
 */
export async function settleApart(
  host: AdmissionHost,
  items: readonly Item[],
  error: unknown,
): Promise<readonly Item[]> {
  const [first] = items;
  if (first === undefined) return [];
  if (items.length === 1) return await settleRefused(host, first, error);
  const again: Item[] = [];
  const middle = items.length >> 1;
  for (const half of [items.slice(0, middle), items.slice(middle)]) {
    const refused = await settleThese(host, half, again);
    if (refused === undefined) continue;
    for (const item of await settleApart(host, refused.items, refused.error)) again.push(item);
  }
  return again;
}

/** Gives what is left where it was refused for good. */
async function settleThese(
  host: AdmissionHost,
  items: readonly Item[],
  again: Item[],
): Promise<{ readonly items: readonly Item[]; readonly error: unknown } | undefined> {
  let rest = items;
  try {
    rest = await admit(host, items);
    if (rest.length === 0) return undefined;
    const states = await host.runtime.taskQueue.settle(rest.map((item) => item.settlement as Settlement));
    rest.forEach((item, index) => host.settled(item, states[index] ?? "lost"));
    return undefined;
  } catch (error) {
    rest = rest.filter(({ execution }) => execution.phase !== "over");
    if (!isOmniQError(error) || !(error.retryable || error.code === "OMNIQ_CLOSED")) return { items: rest, error };
    for (const item of rest) again.push(item);
    return undefined;
  }
}

async function settleRefused(host: AdmissionHost, item: Item, error: unknown): Promise<readonly Item[]> {
  const { taskId, task } = item.execution.lease;
  const about = { taskId, taskName: task.name, outcome: item.ending.kind };
  const { logger } = host.runtime;
  let reason = error;
  const again: Item[] = [];
  // Its events may be what is refused; they are appended apart, where a refusal harms nothing.
  const plans: readonly (Ending | undefined)[] = [
    host.runtime.eventsTogether ? item.ending : undefined,
    failureFor(host, item, error),
  ];
  for (const plan of plans) {
    if (plan === undefined) continue;
    if (plan !== item.ending)
      logger.error("The outcome of a task was refused by its backend for good; the attempt counts as failed", {
        ...about,
        error: reason,
      });
    item.ending = plan;
    item.settlement = undefined;
    item.eventsApart = true;
    const refused = await settleThese(host, [item], again);
    if (refused === undefined) return again;
    reason = refused.error;
  }
  logger.error("A task could not be settled; its lease will run out, and it comes again", { ...about, error: reason });
  host.settled(item, "lost");
  return [];
}

/** The failed attempt that stands for what was refused. Finished work is not done again: it would be refused again. */
function failureFor(host: AdmissionHost, { execution, ending }: Item, refusal: unknown): Ending | undefined {
  if (ending.kind === "cancelled" || ending.kind === "release") return undefined;
  const { taskId, task } = execution.lease;
  const { serializer } = host.runtime;
  const error =
    ending.kind === "completed"
      ? new OmniQError(
          "OMNIQ_TASK_FAILED",
          `The output of ${taskId} (${task.name}) was refused by the backend: ${describeThrown(refusal).message}`,
          { cause: refusal, taskId },
        )
      : ending.error;
  const text = safeErrorText(serializer, error);
  if (ending.kind === "retry") return { ...ending, text, delayMs: Math.max(0, Math.trunc(ending.delayMs) || 0) };
  return { kind: "failed", error, text };
}
