// What stands around a program and is no configuration of its own: variables of services, packages in the working folder, and secrets that show nowhere.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import { expect, test } from "vitest";
import { defineAdapter } from "../src/backend.ts";
import { OmniQ } from "../src/client.ts";
import { defineTask } from "../src/define-task.ts";
import { OmniQError } from "../src/errors.ts";
import { memory } from "@omniq/memory";
import { failure, load } from "./configuration-fakes.ts";

const run = promisify(execFile);

test("variables of Kubernetes services are no configuration", async () => {
  const services: Record<string, string> = {};
  for (const name of ["", "WEB", "REDIS", "TASK_QUEUE", "RESULT_STORAGE", "CONFIG", "POSTGRES_PRIMARY", "LOG_LEVEL"]) {
    const start = name === "" ? "OMNIQ" : `OMNIQ_${name}`;
    Object.assign(services, {
      [`${start}_SERVICE_HOST`]: "10.0.0.1",
      [`${start}_SERVICE_PORT`]: "6379",
      [`${start}_SERVICE_PORT_HTTP_METRICS`]: "9090",
      [`${start}_PORT`]: "tcp://10.0.0.1:6379",
      [`${start}_PORT_6379_TCP`]: "tcp://10.0.0.1:6379",
      [`${start}_PORT_6379_TCP_PROTO`]: "tcp",
      [`${start}_PORT_6379_TCP_PORT`]: "6379",
      [`${start}_PORT_6379_TCP_ADDR`]: "10.0.0.1",
      [`${start}_PORT_53_UDP`]: "udp://10.0.0.1:53",
    });
  }
  const loaded = await load({
    environment: { ...services, OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_HOST: "cache" },
  });
  expect(loaded.taskQueue.options).toEqual({ host: "cache" });
  // A port that is one is still read, and a typing error still told.
  const own = await load({ environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_PORT: "6380" } });
  expect(own.taskQueue.options).toEqual({ port: 6_380 });
  const wrong = await failure({ environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_PROT: "6380" } });
  expect(wrong.message).toContain("OMNIQ_REDIS_PORT");
});

test("the program's own adapter comes before one in or above the working folder; nothing else is imported", async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "omniq-surroundings-")));
  try {
    const packageAt = async (place: string, name: string, text: string): Promise<void> => {
      const root = join(place, "node_modules", name);
      await mkdir(root, { recursive: true });
      await writeFile(join(root, "package.json"), JSON.stringify({ name, type: "module", main: "./index.js" }));
      await writeFile(join(root, "index.js"), text);
    };
    const app = join(folder, "app");
    await mkdir(join(app, "node_modules", "@omniq"), { recursive: true });
    await symlink(fileURLToPath(new URL("..", import.meta.url)), join(app, "node_modules", "@omniq", "core"));
    const adapter = (who: string): string =>
      `import { defineAdapter } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)};
       export const adapter = defineAdapter({ type: "omniq-here", contract: 1, options: {}, create: () => { throw new Error("made by ${who}"); } });`;
    await packageAt(app, "omniq-here", adapter("the program"));
    const working = join(folder, "working", "below");
    await mkdir(working, { recursive: true });
    await packageAt(join(folder, "working"), "omniq-here", adapter("whoever filled the working folder"));
    await packageAt(working, "@acme/redis", 'console.log("imported");');
    await writeFile(
      join(app, "main.mjs"),
      `import { OmniQ } from "@omniq/core";
       for (const type of ["omniq-here", "@acme/redis"])
         await OmniQ.load({ config: { taskQueue: { type } }, environment: false }).catch((error) => console.log(error.message));`,
    );
    const { stdout } = await run(process.execPath, [join(app, "main.mjs")], { cwd: working });
    expect(stdout).toContain("made by the program");
    expect(stdout).not.toContain("imported\n");
    expect(stdout).toContain("only packages with");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a URL of another store does not advise a package that does not exist", async () => {
  const found = await failure({ config: { taskQueue: "mariadb://root:geheim@localhost/db" } });
  expect(found.message).not.toContain("install");
  expect(found.message).not.toContain("geheim");
  expect(found.message).toContain("Pass another one in `adapters`");
});

const secret = "geh3im-pa55w0rd";
const everywhere = (value: unknown): string => {
  const shown = inspect(value, {
    depth: Number.POSITIVE_INFINITY,
    showHidden: true,
    getters: true,
    maxStringLength: null,
  });
  let json = "";
  try {
    json = JSON.stringify(value) ?? "";
  } catch {
    // What JSON cannot say shows nothing.
  }
  return shown + json;
};
test("passwords show neither in clients nor in errors of a configuration and their causes", async () => {
  const keeps = defineAdapter<"fakeevents", ReturnType<typeof memory>>({
    type: "fakeevents",
    contract: 1,
    options: { address: "secret" },
    // The worst of backends: its components show what they were made with. The client must not lead to them.
    create: (options) => {
      const backend = memory();
      Object.assign(backend.taskQueue(), { options });
      return backend;
    },
  });
  const omniq = await OmniQ.load({
    config: { taskQueue: { type: "fakeevents", address: secret } as never },
    environment: false,
    adapters: [keeps],
  });
  const task = defineTask({ name: "x", run: () => undefined });
  const handle = await omniq.enqueue(task);
  const worker = omniq.worker({ tasks: [task] });
  const scheduler = omniq.scheduler();
  expect(everywhere(omniq.components)).toContain(secret);
  const without = { tasks: omniq.tasks, schedules: omniq.schedules, events: omniq.events, queue: omniq.queue("q") };
  for (const shown of [without, handle, worker, scheduler]) expect(everywhere(shown)).not.toContain(secret);
  const client = inspect(omniq, { depth: Number.POSITIVE_INFINITY, showHidden: true }) + JSON.stringify(omniq);
  expect(client).not.toContain(secret);
  await omniq.close();

  const failing = (make: (options: { readonly address: string }) => never): unknown =>
    defineAdapter<"fakeevents", never>({
      type: "fakeevents",
      contract: 1,
      aliases: ["fake"],
      options: { address: "secret" },
      fromUrl: (url) => ({ address: new URL(`${url}:bad port`).password }),
      create: make as never,
    });
  const causes: ((options: { readonly address: string }) => never)[] = [
    ({ address }) => {
      throw new Error(`cannot connect with ${address}`);
    },
    ({ address }) => {
      throw new OmniQError("OMNIQ_INVALID_OPTION", `address ${address} is no address`, {
        cause: Object.assign(new TypeError("Invalid URL"), { input: `redis://u:${address}@h` }),
      });
    },
  ];
  for (const make of causes) {
    const error = await OmniQ.load({
      config: { taskQueue: { type: "fakeevents", address: secret } as never },
      environment: false,
      adapters: [failing(make) as never],
    }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: "OMNIQ_CONFIG_INVALID" });
    expect(everywhere(error)).not.toContain(secret);
  }
  const byUrl = await OmniQ.load({
    config: { taskQueue: `fake://u:${secret}@host` as never },
    environment: false,
    adapters: [failing(causes[0]!) as never],
  }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(byUrl).toMatchObject({ code: "OMNIQ_CONFIG_INVALID" });
  expect(everywhere(byUrl)).not.toContain(secret);
});
