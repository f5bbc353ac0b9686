// The chart of docs/performance.md: for each backend, how many times as good OmniQ is as the best of its peers, by measure.
import { init, type EChartsOption } from "echarts";
import { median } from "../measure.ts";
import { showRatio } from "./numbers.ts";
import { ratio, type BackendResults, type MeasureRow } from "./results.ts";

export interface Bar {
  readonly name: string;
  readonly ratio: number;
  readonly peer: string;
}

/** A row against the peer that does best in it, of those whose rival is `OmniQ`; `undefined` where there is none. */
function barOf(of: BackendResults, row: MeasureRow): Bar | undefined {
  const bars = of.contestants.flatMap(({ name, ours, rival }) => {
    const [theirs, own] = [row.values[name], row.values[rival]];
    if (ours || rival !== "OmniQ" || theirs === undefined || own === undefined) return [];
    return [{ name: row.name, ratio: ratio(row, median(own), median(theirs)), peer: name }];
  });
  return bars.toSorted((a, b) => a.ratio - b.ratio)[0];
}

/** The bars of a backend, in the order of its tables; backlogs, bytes and details are left to those. */
export function barsOf(of: BackendResults): readonly Bar[] {
  return Object.values(of.scenarios).flatMap(({ rows }) =>
    rows
      .filter(({ unit, detail, name }) => detail !== true && unit !== "bytes" && !name.includes("backlog"))
      .flatMap((row) => barOf(of, row) ?? []),
  );
}

const [barHeight, panelHead, panelFoot, width, left] = [22, 44, 34, 860, 300];
const [better, worse] = ["#1a7f5a", "#c2571a"];

/** An SVG; one panel for each backend that has peers, below each other, on one logarithmic scale. */
export function chartSvg(all: Readonly<Record<string, BackendResults>>): string {
  const panels = Object.entries(all)
    .map(([backend, of]) => ({ backend, bars: barsOf(of) }))
    .filter(({ bars }) => bars.length > 0);
  // Powers of two from 1 in the middle: bars to the right are better.
  const exponents = panels.flatMap(({ bars }) => bars.map((bar) => Math.log2(bar.ratio)));
  const [least, most] = [Math.floor(Math.min(-1, ...exponents)), Math.ceil(Math.max(2, ...exponents) + 0.6)];
  let top = 40;
  const grids = panels.map(({ bars }) => {
    // Labels stand behind the bars.
    const grid = { left, right: 150, top: top + panelHead, height: bars.length * barHeight };
    top += panelHead + grid.height + panelFoot;
    return grid;
  });
  const option: EChartsOption = {
    animation: false,
    backgroundColor: "#ffffff",
    textStyle: { fontFamily: "system-ui, sans-serif" },
    title: [
      {
        text: "OmniQ beside the best peer of each measure: how many times as good",
        left: 16,
        top: 12,
        textStyle: { fontSize: 16 },
      },
      ...panels.map(({ backend }, index) => ({
        text: backend,
        left: 16,
        top: (grids[index]?.top ?? 0) - 28,
        textStyle: { fontSize: 14 },
      })),
    ],
    grid: grids,
    xAxis: panels.map((_, index) => ({
      type: "value",
      gridIndex: index,
      min: least,
      max: most,
      interval: 1,
      axisLabel: {
        // Every second one: more would touch.
        formatter: (exponent: number) =>
          exponent % 2 !== 0 ? "" : exponent < 0 ? `1/${2 ** -exponent}` : String(2 ** exponent),
      },
    })),
    yAxis: panels.map(({ bars }, index) => ({
      type: "category",
      gridIndex: index,
      inverse: true,
      data: bars.map(({ name }) => name),
      axisTick: { show: false },
      axisLine: { onZero: false, show: false },
      axisLabel: { color: "#222", margin: 12 },
    })),
    series: panels.map(({ bars }, index) => ({
      type: "bar",
      xAxisIndex: index,
      yAxisIndex: index,
      barWidth: 14,
      data: bars.map((bar) => ({
        value: Math.log2(bar.ratio),
        itemStyle: { color: bar.ratio >= 1 ? better : worse },
        label: {
          show: true,
          position: "right",
          formatter: `${showRatio(bar.ratio)}  ${bar.peer}`,
          color: "#444",
        },
      })),
    })),
  };
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height: top });
  chart.setOption(option);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}
