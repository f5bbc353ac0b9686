// A request whose answer was lost and whose lane was evicted meanwhile: nobody can tell any more, so its caller hears that, and it is not sent again.
import { CommitLog, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { Replica } from "@omniq/replica";
import { expect, test } from "vitest";

const put = (id: string) =>
  ({
    verb: "putSchedule",
    schedule: { id, rule: "r", template: "t", nextAt: null, runs: 0, paused: false },
  }) as const;
// Every answer is followed by a list, and what two checkpoints stand for is deleted at once.
const logOptions = { deletionGraceMs: 1, resendMs: 1 } as const;
const replicaOptions = { laneLimit: 1, checkpointBytes: 1, resendMs: 1 } as const;

/** A store whose process is slow: the answer to its first commit is lost, and after the answer to the second try comes a long pause. */
class SlowStore extends MemoryObjectStore {
  override watch: never = undefined as never;
  #tries = 0;
  readonly #meanwhile: () => Promise<void>;

  constructor(objects: MemoryObjects, meanwhile: () => Promise<void>) {
    super(objects);
    this.#meanwhile = meanwhile;
  }
  override async create(key: string, body: Uint8Array) {
    const answer = await super.create(key, body);
    const tried = key.startsWith("log/") ? ++this.#tries : 0;
    if (tried === 1) return { state: "unknown" } as const;
    if (tried === 2) await this.#meanwhile();
    return answer;
  }
}

test("it is not sent again, also where the process finds out only as it reads", async () => {
  const objects = new MemoryObjects();
  const store = new SlowStore(objects, async () => {
    const log = new CommitLog(new MemoryObjectStore(objects), logOptions);
    const other = await Replica.open(log, replicaOptions);
    const read = (key: string) => new MemoryObjectStore(objects).read(`log/${key.padStart(20, "0")}`);
    for (let index = 0; (await read("1")).object !== undefined; index++) {
      await other.execute([put(`other ${index}`)]);
      await new Promise((resolve) => setTimeout(resolve, 2));
      await log.deleteOld();
    }
    await other.close();
    await log.close();
  });
  const asleep = { pollMs: { busy: 1e9, idle: 1e9 } };
  const one = await Replica.open(new CommitLog(store, { ...logOptions, ...asleep }), {
    ...replicaOptions,
    checkpointBytes: 1e9,
  });
  await expect(one.execute([put("mine")])).rejects.toMatchObject({
    code: "OMNIQ_OUTCOME_UNKNOWN",
    message: expect.stringContaining("outcome of the call is unknown"),
  });
  // It had taken effect, once.
  const [page] = await one.execute([{ verb: "listSchedules", page: { limit: 100 } }]);
  const mine = page.items.filter(({ id }) => id === "mine");
  expect(mine).toMatchObject([{ revision: "1" }]);
  await one.close();
});
