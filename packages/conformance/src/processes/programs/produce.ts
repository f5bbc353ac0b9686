// Program `produce`: enqueues tasks one call each, records the receipts, and dies before the end where it is told to.
import type { NewTask } from "@omniq/core";
import type { HistoryRecord } from "../history.ts";
import { die, stamp, type Program } from "../program.ts";

export interface ProduceData {
  readonly name: string;
  readonly tasks: readonly NewTask[];
  /** How many calls are under way at once. */
  readonly lanes: number;
  /** Kills itself when this many receipts are in; every receipt was told to the parent by then. */
  readonly killAfter?: number | undefined;
}

export const produce: Program = async ({ backend, data, say }) => {
  const { name, tasks, lanes, killAfter } = data as ProduceData;
  const queue = backend.taskQueue?.();
  if (queue === undefined) throw new Error("no task queue");
  const records: HistoryRecord[] = [];
  const left = [...tasks];
  const lane = async (): Promise<void> => {
    for (let task = left.shift(); task !== undefined; task = left.shift()) {
      const sentAt = stamp();
      const [answer] = await queue.enqueue([{ tasks: [task] }]);
      if (answer?.state !== "accepted") throw new Error(`${task.id} was answered ${answer?.state}`);
      const receipt = answer.receipts[0];
      if (receipt === undefined) throw new Error(`${task.id} has no receipt`);
      const record: HistoryRecord = {
        process: name,
        sentAt,
        answeredAt: stamp(),
        verb: "enqueue",
        task,
        receipt: receipt.state,
      };
      records.push(record);
      await say(record);
      if (killAfter !== undefined && records.length >= killAfter) await die();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return records.length;
};
