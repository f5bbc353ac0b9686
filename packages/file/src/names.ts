// The names of objects: `log/<20 digits>`, `checkpoint/<20 digits>`, `part/<k>-<random>/<i>`.

export const logPrefix = "log/";
export const checkpointPrefix = "checkpoint/";
export const partPrefix = "part/";

const digits = (position: number): string => String(position).padStart(20, "0");
export const logKey = (position: number): string => logPrefix + digits(position);
export const checkpointKey = (position: number): string => checkpointPrefix + digits(position);
export const partKey = (position: number, attempt: string, index: number): string =>
  `${partPrefix}${digits(position)}-${attempt}/${index}`;

/** The number in a name of this kind; undefined for names that are none of ours. */
export function positionOf(prefix: string, key: string): number | undefined {
  const match = /^(\d{20})$/.exec(key.slice(prefix.length));
  return key.startsWith(prefix) && match !== null ? safe(Number(match[1])) : undefined;
}
/** The checkpoint that a part was made for. */
export function positionOfPart(key: string): number | undefined {
  const match = /^part\/(\d{20})-[\w-]+\/\d+$/.exec(key);
  return match === null ? undefined : safe(Number(match[1]));
}
/** No position is so high that it can't be counted on. */
const safe = (position: number): number | undefined => (Number.isSafeInteger(position) ? position : undefined);
