// Statements inside a transaction of the user's.
import { OmniQError } from "@omniq/core";
import type { PostgresClientLike } from "./options.ts";

const refuse = (why: string): OmniQError =>
  new OmniQError(
    "OMNIQ_INVALID_OPTION",
    `transaction must be a client of pg with an open transaction, or an object with query(text, values): ${why}`,
  );

type Given = Partial<PostgresClientLike> & {
  readonly totalCount?: unknown;
  readonly connect?: unknown;
  readonly getTransactionStatus?: () => unknown;
};

/** Fails outside of a transaction, and changes nothing inside. */
const onlyInside = "LOCK TABLE {s}.meta IN ACCESS SHARE MODE";

/**
 * Checks that statements of this object are part of a transaction. A pool, of which each statement goes on a connection of its own, and a client
 * that is in no transaction are refused with `OMNIQ_INVALID_OPTION`: what they store would stay whatever becomes of the user's work.
 */
export async function checkTransaction(
  transaction: unknown,
  textOf: (text: string) => string,
): Promise<PostgresClientLike> {
  const client = transaction as Given | null;
  if (typeof client !== "object" || client === null || typeof client.query !== "function")
    throw refuse("it has no query");
  if (typeof client.totalCount === "number" && typeof client.connect === "function")
    throw refuse("it is a pool; take a client of it and begin");
  const outside = refuse("no transaction is open on it; begin one first");
  // A client of `pg` knows how it stands. Others are asked by a statement.
  const status = typeof client.getTransactionStatus === "function" ? client.getTransactionStatus() : undefined;
  if (status === "I") throw outside;
  if (status !== "T" && status !== "E") {
    try {
      await client.query(textOf(onlyInside), []);
    } catch (error) {
      if ((error as { code?: unknown } | null)?.code === "25P01") throw outside;
      throw error;
    }
  }
  return client as PostgresClientLike;
}
