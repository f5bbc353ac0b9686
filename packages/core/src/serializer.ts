// How inputs, outputs and errors become text.

/** Turns values into text and back. `deserialize` must never run or import anything. */
export interface Serializer {
  readonly name: string;
  serialize(value: unknown): string;
  deserialize(text: string): unknown;
}
