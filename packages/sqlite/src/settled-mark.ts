// What a settlement is known by after it has been applied, so that it can be told from another when it is sent again.
import type { Settlement } from "@omniq/core";

/** Only the same outcome under the same token is the same settlement. */
export function settledMark({ token, outcome }: Pick<Settlement, "token" | "outcome">): string {
  return `${outcome}:${token}`;
}
