// Looks at a finished run: is any task lost, was any recorded twice, which one was the slowest?
import type { OmniQ, TaskEvent, TaskHandle } from "@omniq/core";

export interface Audit {
  readonly tasks: readonly { readonly id: string; readonly attempt: number; readonly ranMs: number }[];
  readonly lost: readonly string[];
  readonly twice: readonly string[];
  readonly slowest: { readonly id: string; readonly events: readonly TaskEvent[] } | undefined;
}

/**
 * Every task must have a completed outcome, must have left the queue, and must have at most one event that says so. A task whose
 * worker died between two backends may lack that event, but never has two.
 */
export async function audit(omniq: OmniQ, handles: readonly TaskHandle<unknown>[]): Promise<Audit> {
  const tasks: { id: string; attempt: number; ranMs: number }[] = [];
  const lost: string[] = [];
  const twice: string[] = [];
  let slowest: { id: string; events: TaskEvent[]; ms: number } | undefined;
  const events = await eventsByTask(omniq, new Set(handles.map((handle) => handle.id)));
  for (const handle of handles) {
    const outcome = await handle.outcome({ timeoutMs: 10_000 }).catch(() => undefined);
    const left = await omniq.tasks.get(handle.id);
    if (outcome?.status !== "completed" || left !== undefined) {
      lost.push(handle.id);
      continue;
    }
    const own = events.get(handle.id) ?? [];
    if (own.filter((event) => event.type === "completed").length > 1) twice.push(handle.id);
    const started = own.findLast((event) => event.type === "started")?.at;
    const completed = own.findLast((event) => event.type === "completed")?.at;
    tasks.push({
      id: handle.id,
      attempt: outcome.attempt,
      ranMs: started === undefined || completed === undefined ? 0 : completed - started,
    });
    const ms = own.length === 0 ? -1 : (own.at(-1)?.at ?? 0) - (own.find((event) => event.type === "started")?.at ?? 0);
    if (ms > (slowest?.ms ?? -1)) slowest = { id: handle.id, events: own, ms };
  }
  return { tasks, lost, twice, slowest };
}

async function eventsByTask(omniq: OmniQ, ids: ReadonlySet<string>): Promise<Map<string, TaskEvent[]>> {
  const found = new Map<string, TaskEvent[]>();
  if (omniq.components.eventStorage === undefined) return found;
  for await (const event of omniq.events.query({ queue: "mill" })) {
    if (!ids.has(event.taskId)) continue;
    const own = found.get(event.taskId);
    if (own === undefined) found.set(event.taskId, [event]);
    else own.push(event);
  }
  return found;
}
