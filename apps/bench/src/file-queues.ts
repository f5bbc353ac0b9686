// `node dist/file-queues.js [REPEATS]`: enqueueing by 500 callers and draining at concurrency 100 on a local disk, OmniQ beside the fastest
// file-based queues of npm. Every run is a process of its own on a new folder; the contestants take turns, and who begins changes.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fileContestants, type FileContestantName } from "./file-contestants.ts";
import { median, withFolder } from "./measure.ts";

interface Rates {
  readonly enqueued: number;
  readonly drained: number;
}
const names = Object.keys(fileContestants) as FileContestantName[];
/** As many tasks as each of them drains in about two seconds; file-queue lists all of its tasks for each one. */
const counts: Readonly<Record<FileContestantName, number>> = { omniq: 20_000, fileq: 20_000, "file-queue": 2_000 };

async function measureHere(name: FileContestantName, folder: string): Promise<Rates> {
  const count = counts[name];
  const contestant = await fileContestants[name].open(folder);
  const started = performance.now();
  await contestant.fill(count, 500);
  const filled = performance.now();
  const seen = new Set<number>();
  let calls = 0;
  await contestant.drain(count, (payload) => {
    calls++;
    seen.add(payload);
  });
  const drained = performance.now();
  if (seen.size !== count || calls !== count)
    throw new Error(`${name}: ${calls} calls, ${seen.size} of ${count} payloads`);
  await contestant.close();
  return { enqueued: (count / (filled - started)) * 1_000, drained: (count / (drained - filled)) * 1_000 };
}
function inOwnProcess(name: FileContestantName): Rates {
  const { stdout, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${name} failed`);
  return JSON.parse(stdout) as Rates;
}

function main(repeats: number): void {
  const rates = new Map<FileContestantName, Rates[]>(names.map((name) => [name, []]));
  for (let repeat = 0; repeat < repeats; repeat++)
    for (const name of repeat % 2 === 0 ? names : names.toReversed()) rates.get(name)?.push(inOwnProcess(name));
  const of = (name: FileContestantName, what: keyof Rates): readonly number[] =>
    (rates.get(name) ?? []).map((each) => each[what]);
  console.log(`medians of ${repeats}; every payload of every run came exactly once`);
  console.log("| | enqueues/s, 500 callers | drained/s at 100 | OmniQ drains | |\n| --- | --- | --- | --- | --- |");
  for (const name of names) {
    const { name: title, promises } = fileContestants[name];
    const ratio = median(
      of("omniq", "drained").map((rate, index) => rate / (of(name, "drained")[index] ?? Number.NaN)),
    );
    console.log(
      `| ${title} | ${median(of(name, "enqueued")).toFixed(0)} | ${median(of(name, "drained")).toFixed(0)} | ${name === "omniq" ? "" : `${ratio.toFixed(1)} times as fast`} | ${promises} |`,
    );
  }
}

const [first] = process.argv.slice(2);
if (first !== undefined && Object.hasOwn(fileContestants, first)) {
  const measured = await withFolder((folder) => measureHere(first as FileContestantName, folder));
  // Watchers and databases of contestants have ends of their own.
  process.stdout.write(JSON.stringify(measured), () => process.exit(0));
} else main(Number(first ?? 5));
