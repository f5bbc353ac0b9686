// Task definitions with any Standard Schema, their options' checks, and handlers run directly.
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import type { StandardSchemaV1 } from "../src/standard-schema.ts";
import { z } from "zod";
import { allowFailure, defineTask } from "../src/define-task.ts";
import { definitionOf } from "../src/definition.ts";
import { failTask } from "../src/errors.ts";
import { typeOnly } from "../src/standard-schema.ts";

const refused = (message: string): unknown =>
  expect.objectContaining({ code: "OMNIQ_INVALID_OPTION", message: expect.stringContaining(message) as string });

describe("schemas", () => {
  test("zod, valibot, arktype and typeOnly parse on the way to the handler", async () => {
    const zod = defineTask({ name: "z", input: z.object({ n: z.coerce.number().default(7) }), run: ({ n }) => n + 1 });
    const valibot = defineTask({
      name: "v",
      input: v.object({ id: v.pipe(v.string(), v.transform(Number)) }),
      run: ({ id }) => id,
    });
    const ark = defineTask({ name: "a", input: type({ id: "string.integer.parse" }), run: ({ id }) => id });
    const only = defineTask({ name: "o", input: typeOnly<{ a: 1 }>(), run: ({ a }) => a });
    expect(await zod.invoke({})).toBe(8);
    expect(await valibot.invoke({ id: "5" })).toBe(5);
    expect(Number(await ark.invoke({ id: "6" }))).toBe(6);
    expect(await only.invoke({ a: 1 })).toBe(1);
  });
  test("issues name their paths, for asynchronous schemas too", async () => {
    const task = defineTask({
      name: "t",
      input: z.object({ list: z.array(z.object({ n: z.number() })) }).refine(async () => true),
      run: () => 1,
    });
    await expect(task.invoke({ list: [{ n: "x" as never }] })).rejects.toMatchObject({
      code: "OMNIQ_INVALID_INPUT",
      message: expect.stringMatching(/^The input of task "t" is not valid: list\.0\.n: /) as string,
    });
  });
  test("messages say where and what was expected, and never quote the value", async () => {
    const secret = "hunter2 is the password";
    const given = { to: secret, n: secret, kind: secret, either: secret, tags: [1, secret], [`${secret}@x`]: 1 };
    const schemas = {
      zod: z.strictObject({
        to: z.email(),
        n: z.number(),
        kind: z.enum(["a", "b"]),
        either: z.union([z.number(), z.boolean()]),
        tags: z.array(z.number()),
      }),
      "a zod record": z.record(z.email(), z.number()),
      valibot: v.strictObject({
        to: v.pipe(v.string(), v.email()),
        n: v.number(),
        kind: v.picklist(["a", "b"]),
        either: v.union([v.number(), v.boolean()]),
        tags: v.array(v.number()),
      }),
      arktype: type({
        "+": "reject",
        to: "string.email",
        n: "number>5",
        kind: "'a'|'b'",
        either: "number|boolean",
        tags: "number[]",
      }),
    };
    for (const [library, input] of Object.entries(schemas)) {
      const task = defineTask({ name: "t", input: input as StandardSchemaV1, run: () => 1 });
      const error: unknown = await task.invoke(given).catch((thrown: unknown) => thrown);
      expect(error, library).toMatchObject({ code: "OMNIQ_INVALID_INPUT", cause: expect.anything() as unknown });
      expect((error as Error).message, library).not.toContain("hunter2");
      if (library !== "a zod record")
        expect((error as Error).message, library).toMatch(/tags\.1: expected (a )?number, got a string/);
    }
  });
  test("the output is checked and not changed", async () => {
    const task = defineTask({
      name: "t",
      input: typeOnly<string>(),
      output: z.object({ a: z.string() }),
      run: (a) => ({ a, extra: 1 }),
    });
    expect(await task.invoke("x")).toEqual({ a: "x", extra: 1 });
    await expect(task.invoke(5 as never)).rejects.toMatchObject({ code: "OMNIQ_INVALID_INPUT" });
  });
});

describe("handlers", () => {
  test("implement leaves the definition free of the handler", async () => {
    const contract = defineTask({ name: "c", input: typeOnly<number>(), output: typeOnly<number>() });
    const implementation = contract.implement((n) => n * 2);
    expect("handler" in contract).toBe(false);
    expect(definitionOf(contract)?.handler).toBeUndefined();
    expect(implementation.handler).toBe("single");
    expect(await implementation.invoke(4)).toBe(8);
  });
  test("a batch handler runs one task directly", async () => {
    const contract = defineTask({ name: "c", input: typeOnly<number>(), output: typeOnly<number>() });
    const batch = contract.implementBatch({ maxSize: 5 }, (tasks) =>
      tasks.map(({ input }) => (input < 0 ? failTask("negative") : input * 3)),
    );
    expect(batch.handler).toBe("batch");
    expect(await batch.invoke(4)).toBe(12);
    await expect(batch.invoke(-1)).rejects.toMatchObject({ code: "OMNIQ_TASK_FAILED", message: "negative" });
  });
  test("invoke takes a context", async () => {
    const parent = defineTask({ name: "p", run: () => 2 });
    const task = defineTask({
      name: "c",
      dependsOn: { parent },
      run: (_, { attempt, dependencies }) => attempt * dependencies.parent,
    });
    expect(await task.invoke(undefined, { attempt: 3, dependencies: { parent: 5 } })).toBe(15);
  });
});

describe("refused options", () => {
  const define = defineTask as unknown as (definition: object) => unknown;
  test.each<[string, object, string]>([
    ["no name", {}, "The name of a task"],
    ["a long name", { name: "é".repeat(128) }, "256 bytes"],
    ["an unknown option", { name: "t", retries: 3 }, '"retries"'],
    ["an unknown retry option", { name: "t", retry: { attempts: 3 } }, '"attempts"'],
    ["a priority out of range", { name: "t", priority: 1_001 }, "priority"],
    ["a fraction", { name: "t", timeoutMs: 0.5 }, "timeoutMs"],
    ["a timeout beyond timers", { name: "t", timeoutMs: 2 ** 31 }, "timeoutMs"],
    ["a negative time to live", { name: "t", resultTtlMs: -1 }, "resultTtlMs"],
    ["jitter", { name: "t", retry: { jitter: 2 } }, "retry.jitter"],
    ["backoff", { name: "t", retry: { backoff: "random" } }, "retry.backoff"],
    ["a key that is no function", { name: "t", deduplicate: { key: "k" } }, "deduplicate.key"],
    ["a mode", { name: "t", deduplicate: { key: () => "k", mode: "drop" } }, "deduplicate.mode"],
    ["a group limit", { name: "t", group: { key: () => "k", limit: 0 } }, "group.limit"],
    ["a header that is no string", { name: "t", headers: { a: 1 } }, 'header "a"'],
    ["too many headers", { name: "t", headers: { a: "x".repeat(70_000) } }, "65536"],
    ["input that is no schema", { name: "t", input: {} }, "Standard Schema"],
    ["a slot that is no task", { name: "t", dependsOn: { a: {} } }, "dependsOn.a"],
    ["run that is no function", { name: "t", run: 1 }, "run of task"],
  ])("%s", (_name, definition, message) => expect(() => define(definition)).toThrow(refused(message) as Error));
  test("allowFailure of something else", () =>
    expect(() => allowFailure({} as never)).toThrow(refused("allowFailure") as Error));
});
