// What a failed call to the file system means to callers.
import { OmniQError } from "@omniq/core";

export function codeOf(error: unknown): string | undefined {
  return (error as { readonly code?: string } | undefined)?.code;
}

const full: ReadonlySet<string | undefined> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const noLinks: ReadonlySet<string | undefined> = new Set(["ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);
const denied: ReadonlySet<string | undefined> = new Set(["EACCES", "EROFS"]);

/** The error of a failed call. Nothing was stored by it, unless the call was the sync of a folder. */
export function diskError(cause: unknown, path: string): OmniQError {
  const code = codeOf(cause);
  if (full.has(code))
    return new OmniQError(
      "OMNIQ_BACKEND_FULL",
      `The disk under ${path} is full (${code}): nothing was stored; make room, then call again`,
      { cause },
    );
  if (noLinks.has(code) || (code === "EPERM" && (cause as { readonly syscall?: string }).syscall === "link"))
    return new OmniQError(
      "OMNIQ_UNSUPPORTED",
      `The file system under ${path} has no hard links (${code}), without which two processes could write one commit: use a local disk`,
      { cause },
    );
  if (denied.has(code))
    return new OmniQError("OMNIQ_BACKEND_FAILED", `${path} can't be written (${code}): check its owner and rights`, {
      cause,
    });
  if (code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR")
    return new OmniQError("OMNIQ_BACKEND_FAILED", `${path} is in the way (${code}): give a folder of its own`, {
      cause,
    });
  return new OmniQError(
    "OMNIQ_BACKEND_UNAVAILABLE",
    `The disk under ${path} failed (${code ?? "no code"}); the call may be repeated`,
    { cause },
  );
}
