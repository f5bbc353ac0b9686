// Enqueues on SQLite files in a folder that may not be written to, as an unprivileged user: run by bad-input.test.ts, from what is built.
import { OmniQ, defineTask } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";

// Whatever loads late is loaded while every file can still be read.
const ready = sqlite({ databasePath: ":memory:" });
await ready.check();
await ready.close();
if (process.getuid() === 0) {
  process.setgid(65_534);
  process.setuid(65_534);
}

const echo = defineTask({ name: "echo" });
const answers = [];
for (const databasePath of process.argv.slice(2)) {
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
  const answer = await omniq.enqueue(echo, { secret: "hunter2" }).catch((error) => error);
  answers.push({ code: answer.code, message: answer.message });
  await omniq.close().catch(() => undefined);
}
console.log(JSON.stringify(answers));
