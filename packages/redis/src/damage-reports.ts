// Tells whoever listens to the backend of items that cannot be read, each once in this process.
import { Reports, type BackendReport } from "@omniq/core";

export type DamagedKind = "task" | "result" | "event" | "schedule";

/** More than these are told again when they are met again. */
const mostKnown = 10_000;
const become: Readonly<Record<DamagedKind, string>> = {
  task: "it became a dead letter, which can be removed",
  result: "it is given as failed, and can be deleted",
  event: "it is left out",
  schedule: "it is shown as paused, is never due, and can be deleted",
};

export class DamageReports {
  readonly #reports = new Reports();
  readonly #known = new Set<string>();

  listen(listener: (report: BackendReport) => void): () => void {
    return this.#reports.listen(listener);
  }

  /** An item of this id cannot be read. */
  tell(kind: DamagedKind, id: string): void {
    const key = `${kind} ${id}`;
    if (this.#known.has(key)) return;
    if (this.#known.size >= mostKnown) this.#known.clear();
    this.#known.add(key);
    this.#reports.send("error", `What Redis holds of a ${kind} cannot be read: ${become[kind]}`, {
      [`${kind === "result" ? "task" : kind}Id`]: id,
      code: "OMNIQ_ITEM_DAMAGED",
    });
  }
}
