// The bound on every time that an option, an error or a stored text may say.

/** The longest time that an option may say: a hundred years. */
export const maxDurationMs = 3_155_760_000_000;
