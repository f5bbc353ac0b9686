// The two texts that a schedule is stored as: its rule, and the task that it enqueues.
import type { NewTask, StoredSchedule } from "./contracts/index.ts";
import { OmniQError } from "./errors.ts";
import type { StoredRule } from "./schedule-rule.ts";

/** A task without its id, which each occurrence brings. */
export type TaskTemplate = Omit<NewTask, "id" | "rememberMs">;

/** The text of a rule. Equal rules have equal texts, apart from the anchor. */
export function encodeRule(rule: StoredRule, anchor: number): string {
  const { cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed } = rule;
  return JSON.stringify({ version: 1, cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed, anchor });
}

/** The rule that {@link encodeRule} wrote. Throws `OMNIQ_ADAPTER_INCOMPATIBLE` for one of a newer version. */
export function decodeRule(schedule: StoredSchedule): { readonly rule: StoredRule; readonly anchor: number } {
  const { version, anchor, ...rule } = JSON.parse(schedule.rule) as StoredRule & {
    readonly version: number;
    readonly anchor: number;
  };
  if (version !== 1) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `The schedule ${JSON.stringify(schedule.id)} was written by a newer version of OmniQ; update this one`,
    );
  }
  return { rule, anchor };
}

/** The text of a template. */
export function encodeTemplate(task: NewTask): string {
  const { id: _id, rememberMs: _rememberMs, ...template } = task;
  return JSON.stringify(template);
}

/** The template that {@link encodeTemplate} wrote. */
export function decodeTemplate(schedule: StoredSchedule): TaskTemplate {
  return JSON.parse(schedule.template) as TaskTemplate;
}
