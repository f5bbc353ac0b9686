// What version 1 has written stays readable: first-rules.json is a log that it wrote, and the checkpoint that it took of it.
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeCommit, encodeCommit, encodeState, Machine, newestRules, type StateSnapshot } from "../src/index.ts";

const saved = JSON.parse(readFileSync(new URL("first-rules.json", import.meta.url), "utf8")) as {
  readonly bodies: readonly string[];
  readonly checkpoint: string;
};
function replay(bodies: readonly string[]): Machine {
  const machine = new Machine();
  for (const [index, body] of bodies.entries()) machine.applyCommit(decodeCommit(body, index + 1), index + 1);
  return machine;
}
const stateOf = (machine: Machine): Omit<StateSnapshot, "version"> => {
  const { version, ...rest } = encodeState(machine.state);
  return rest;
};

describe("the first rules", () => {
  it("a log of version 1 gives the state and the answers that version 1 had", () => {
    const machine = replay(saved.bodies);
    const loaded = Machine.decode([saved.checkpoint]);
    expect(machine.position).toBe(saved.bodies.length);
    const { version, ...before } = (JSON.parse(saved.checkpoint) as { state: StateSnapshot }).state;
    expect(version).toBe(1);
    const plain = (state: unknown): unknown => JSON.parse(JSON.stringify(state).replaceAll('"damaged":false,', ""));
    expect(plain(stateOf(machine))).toEqual(before);
    expect(plain(stateOf(loaded))).toEqual(before);
    // Keys of holders that are over, remembered ids, attempts: by the newest rules it would be another one.
    const reread = saved.bodies.map((body) => {
      const { rules, ...commit } = decodeCommit(body, 1);
      expect(rules).toBe(1);
      return encodeCommit(commit);
    });
    expect(plain(stateOf(replay(reread)))).not.toEqual(before);
  });
  it("a state with the longest times that callers may give is restored", () => {
    const machine = new Machine();
    const far = Number.MAX_SAFE_INTEGER;
    const own = { expiresInMs: far, resultTtlMs: far, rememberMs: far, priority: 0, maxAttempts: far, envelope: "{}" };
    const tasks = [{ id: "a", name: "n", queue: "q", payload: "p", runAt: far, ...own }];
    const result = { taskId: "r", run: 1, attempt: 1, name: "n", queue: "q", status: "failed", ttlMs: far } as const;
    const operations = [
      { verb: "enqueue", calls: [{ tasks }] },
      { verb: "putResults", results: [{ ...result, finishedAt: far }] },
    ] as const;
    machine.applyCommit({ id: "c", sequence: 1, previous: "", at: 5, requests: [{ n: 1, operations }] }, 1);
    expect(machine.state.tasks.size).toBe(1);
    expect(Machine.decode(machine.encode()).encode()).toEqual(machine.encode());
  });
  it("commits and checkpoints of newer rules are refused", () => {
    const body = encodeCommit({ id: "c", sequence: 1, previous: "", at: 1, requests: [] });
    expect(body.startsWith(`${newestRules} `)).toBe(true);
    const text = body.slice(body.indexOf("{"));
    const checksum = createHash("sha256")
      .update(`${newestRules + 1} ${text}`)
      .digest("base64url")
      .slice(0, 22);
    expect(() => decodeCommit(`${newestRules + 1} ${checksum} ${text}`, 1)).toThrow("newer");
    const pieces = new Machine()
      .encode()
      .join("")
      .replace(`"version"] ${newestRules}`, `"version"] ${newestRules + 1}`);
    expect(() => Machine.decode([pieces])).toThrow("newer");
  });
});
