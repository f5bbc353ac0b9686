// A logger for graphile-worker that says nothing but errors.
import { Logger } from "graphile-worker";

export const quietLogger: Logger = new Logger(() => (level, message) => {
  if (String(level) === "error") console.error(message);
});
