// The name of a position in the log that appenders race for.

export const positionOf = (n: number): string => `log/${String(n).padStart(20, "0")}`;
