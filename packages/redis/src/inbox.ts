// The inbox: a stream into which plain tasks go by a command of its own, which costs a fraction of a script. Every script first gives what stands
// there its place (`take_in`), so that whoever reads or changes tasks sees no difference.
import { randomBytes } from "node:crypto";
import type { NewTask } from "@omniq/core";
import type { Connection } from "./connection.ts";
import { argumentText, commandText } from "./direct-command.ts";
import type { Kind } from "./kinds.ts";

/** Bytes of an id that was made by core. The scripts count on it. */
const idLength = 36;
/** Characters of a payload: who takes tasks in reads all that stand there at once. */
const longest = 4_096;
/** After so many a task goes by the script, which takes them in: the inbox stays short where nobody else runs scripts. */
const mostInTurn = 256;

/**
 * A stream's name is random, and it is made with a kind. While it is there, the server was not emptied since, and has every kind that it had then:
 * so nobody need look, and the command adds nothing where the stream is gone. Another connection may be to a server that lost its latest writes
 * (a restart, a fail-over): there the script looks first.
 */
export interface Place {
  /** The number of the connection on which the server said that it has the kind. */
  readonly connection: number;
  /** `XADD` but for its last argument, as it is sent: its field says kind and queue, and the value that is missing the id and the payload. */
  readonly add: string;
  /** `ZADD` of what wakes a worker. Where it is lost, a worker that waits looks by itself in time. */
  readonly wake: string;
}

/** The place of a kind in the inbox of this name. */
export function placeOf(connection: Connection, number: number, name: string, { reference, queue }: Kind): Place {
  const add = ["xadd", connection.key(`in:${name}`), "NOMKSTREAM", "*", `${reference}${queue}`]
    .map(argumentText)
    .join("");
  return { connection: number, add, wake: commandText("zadd", connection.key(`w:${queue}`), 0, 0) };
}

/** A name for a stream that is to be made; empty where there is no inbox: on clusters and users' clients, and where replicas are waited for. */
export function newInbox({ options: { cluster, client, waitReplicas } }: Connection): string {
  return cluster !== undefined || client !== undefined || waitReplicas > 0 ? "" : randomBytes(6).toString("base64url");
}

export class Inbox {
  readonly #connection: Connection;
  #inTurn = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Sends a plain task whose id nobody else knows, and says so; `false` where it must go by the script. `done` is told `null` where
   * the server was emptied and nothing was stored.
   */
  send(kind: Kind, task: NewTask, done: (answer: unknown) => void, fail: (error: unknown) => void): boolean {
    const { place } = kind;
    // Where the id ends, the scripts know by its length.
    if (place === undefined || Buffer.byteLength(task.id) !== idLength || task.payload.length > longest) return false;
    this.#inTurn += 1;
    if (this.#inTurn > mostInTurn) {
      this.#inTurn = 0;
      return false;
    }
    if (this.#connection.append(place, task.id + task.payload, done, fail)) return true;
    kind.place = undefined;
    return false;
  }
}
