// Finds libfaketime, with which torture sets clocks; installs it where the system allows.
import { clockLibrary } from "../apps/torture/dist/clocks.js";
import { installPackages } from "./servers.mjs";

/** Its path; where there is none it says what to install. */
export function findClockLibrary() {
  const found = clockLibrary() ?? (installPackages(["faketime"]) ? clockLibrary() : undefined);
  if (found === undefined)
    console.log("No clock is set, as libfaketime is not here: install the package faketime (Debian, Ubuntu)");
  return found;
}
