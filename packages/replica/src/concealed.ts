// Options with secrets that others must be able to read, and no log must show.
import { inspect } from "node:util";

const concealing: object = {
  [inspect.custom]: (): string => "[options]",
  toJSON: (): string => "[options]",
};

/** The same options; `util.inspect`, `console.log` and `JSON.stringify` show none of them. A thread that is given them gets them whole. */
export function conceal<T extends object>(options: T): T {
  return Object.assign(Object.create(concealing) as object, options) as T;
}
