// Type test: a program that a user would write must compile (negative).
import {
  OmniQ,
  defineTask,
  typeOnly,
  allowFailure,
  type OutputOf,
  type TaskHandle,
  type TaskOutcome,
  type TaskDefinition,
} from "@omniq/core";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";
import { z } from "zod";
import { purge, resizeImage, sendEmail } from "./tasks.ts";
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const equal = <A, B>(_: Equal<A, B>): void => {};
const omniq = new OmniQ({ taskQueue: memory() });

// types are exact, not any
const h = await omniq.enqueue(sendEmail, { to: "a", subject: "b" });
equal<typeof h, TaskHandle<{ messageId: string }>>(true);
const [m, i] = await omniq.enqueueMany([
  sendEmail.with({ to: "a", subject: "b" }),
  resizeImage.with({ url: "u", width: 1 }),
]);
equal<typeof m, TaskHandle<{ messageId: string }>>(true);
equal<typeof i, TaskHandle<{ key: string }>>(true);
const inline = defineTask({
  name: "x",
  input: z.object({ n: z.coerce.number() }),
  run: async ({ n }, c) => {
    equal<typeof n, number>(true);
    equal<typeof c.attempt, number>(true);
    return [n, "a"] as const;
  },
});
equal<OutputOf<typeof inline>, readonly [number, "a"]>(true);
const fails = defineTask({
  name: "y",
  dependsOn: { a: inline, b: allowFailure(sendEmail), c: [resizeImage], d: [allowFailure(resizeImage)] },
  run: (_input, { dependencies }) => {
    equal<typeof dependencies.a, readonly [number, "a"]>(true);
    equal<typeof dependencies.b, TaskOutcome<{ messageId: string }>>(true);
    equal<typeof dependencies.c, readonly { key: string }[]>(true);
    equal<typeof dependencies.d, readonly TaskOutcome<{ key: string }>[]>(true);
    // @ts-expect-error no such dependency
    dependencies.e;
    return 1;
  },
});
const handled = omniq.handle(inline, "id");
equal<typeof handled, TaskHandle<readonly [number, "a"]>>(true);
const untyped = omniq.handle("id");
equal<typeof untyped, TaskHandle<unknown>>(true);

// @ts-expect-error input missing
await omniq.enqueue(sendEmail);
// @ts-expect-error a field missing
await omniq.enqueue(sendEmail, { to: "a" });
// @ts-expect-error wrong type
await omniq.enqueue(resizeImage, { url: "u", width: "1" });
// @ts-expect-error unknown option
await omniq.enqueue(resizeImage, { url: "u", width: 1 }, { delay: 1 });
// @ts-expect-error no input wanted
await omniq.enqueue(purge, { a: 1 });
// @ts-expect-error dependencies missing
await omniq.enqueue(fails);
await omniq.enqueue(fails, undefined, {
  // @ts-expect-error dependency of the wrong task
  dependsOn: { a: resizeImage.with({ url: "u", width: 1 }), b: h, c: [], d: [] },
});
await omniq.enqueue(fails, undefined, { dependsOn: { a: handled, b: h, c: [], d: [i] } });
// @ts-expect-error a definition without a handler can't be worked
omniq.worker({ tasks: [sendEmail] });
// @ts-expect-error handlers can't cross into threads
omniq.worker({ kind: "thread", tasks: [inline] });
// @ts-expect-error the handler's output is wrong
resizeImage.implement(() => ({ key: 1 }));
// @ts-expect-error two rules
await omniq.schedules.put("s", { cron: "* * * * *", everyMs: 1, task: purge.with() });
// @ts-expect-error misspelt option of an adapter
sqlite({ databasePaht: "x" });
// @ts-expect-error misspelt option in plain configuration
await OmniQ.load({ config: { taskQueue: { type: "sqlite", database_paht: "x" } } });
// @ts-expect-error unknown type
await OmniQ.load({ config: { taskQueue: { type: "sqlit" } } });
// @ts-expect-error wrong type of a flat option
await OmniQ.load({ config: { taskQueueType: "sqlite", sqliteDatabasePath: 5 } });
// @ts-expect-error misspelt retry option
defineTask({ name: "t", retry: { attempts: 3 } });
// @ts-expect-error misspelt retry option with run
defineTask({ name: "t", retry: { attempts: 3 }, run: () => 1 });
// @ts-expect-error output against schema
defineTask({ name: "t", output: z.object({ a: z.string() }), run: () => ({ a: 1 }) });
// @ts-expect-error a number is no transaction of any adapter
await omniq.enqueue(purge, undefined, { transaction: 1 });
const t: TaskDefinition<{ url: string }, { key: string }> = defineTask({
  name: "q",
  input: typeOnly<{ url: string }>(),
  output: typeOnly<{ key: string }>(),
});
void t;
