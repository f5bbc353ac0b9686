// How values and ratios are written.
import type { MeasureRow } from "./results.ts";

export function showValue(value: number, { unit }: Pick<MeasureRow, "unit">): string {
  if (!Number.isFinite(value)) return "–";
  const digits = unit === "/s" || unit === "bytes" || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return unit === "/s" ? `${text}/s` : `${text} ${unit}`;
}

export function showRatio(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(value >= 1 ? 1 : 2)}×`;
}
