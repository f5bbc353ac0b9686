// A profile as a flame graph: an SVG that any browser shows. Drawn by hand, since what npm has either draws in a page only or brings a server
// along, and the chart library knows no titles, by which a browser names what the pointer is on.
import { everyCall, type Call, type Owner } from "./call-tree.ts";

const [width, margin, rowHeight, head, foot] = [1_200, 12, 18, 86, 12];
/** Narrower calls are left out, with all that they called: they would be less than two pixels. */
const leastShare = 0.001;
/** A monospaced letter at the size of the labels, in the widest of the usual fonts. */
const letterWidth = 6.8;

const owners: Readonly<Record<Exclude<Owner, "waiting">, { readonly label: string; readonly color: string }>> = {
  omniq: { label: "OmniQ", color: "#7fd1a8" },
  library: { label: "libraries", color: "#f5b26b" },
  node: { label: "Node", color: "#9cc3ee" },
  engine: { label: "V8 and native code", color: "#d9b8e8" },
  garbage: { label: "garbage collection", color: "#d0d0d0" },
  bench: { label: "the bench", color: "#f2e08a" },
};

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
/** A tenth of a pixel is enough, and short. */
const short = (pixels: number): string => String(Math.round(pixels * 10) / 10);

/** The name, as much of it as there is room for; of a function without one, the line it begins on. */
function labelOf({ name, place }: Call, room: number): string {
  const letters = Math.floor((room - 6) / letterWidth);
  const label = name === "(anonymous)" && place !== "" ? place.slice(place.lastIndexOf("/") + 1) : name;
  if (label.length <= letters) return label;
  return letters < 3 ? "" : `${label.slice(0, letters - 1)}…`;
}

/** Where a call is drawn: from the left, and how deep. */
interface Placed {
  readonly call: Call;
  readonly from: number;
  readonly depth: number;
}

/** All calls that are wide enough to be seen; `from` in microseconds. */
function* place(call: Call, least: number, from = 0, depth = 0): Generator<Placed> {
  yield { call, from, depth };
  let left = from;
  for (const below of call.calls) {
    if (below.total >= least) yield* place(below, least, left, depth + 1);
    left += below.total;
  }
}

function drawn({ call, from, depth }: Placed, total: number): string {
  const scale = (width - 2 * margin) / total;
  const [x, y, room] = [margin + from * scale, head + depth * rowHeight, call.total * scale];
  const label = labelOf(call, room);
  const title = [call.name, call.place, `${percent(call.total / total)}, ${percent(call.own / total)} of it itself`];
  return [
    `<g><title>${escaped(title.filter((line) => line !== "").join("\n"))}</title>`,
    `<rect class="${call.owner}" x="${short(x)}" y="${y}" width="${short(room)}" height="${rowHeight}"/>`,
    label === "" ? "" : `<text x="${short(x + 3)}" y="${y + 13}">${escaped(label)}</text>`,
    "</g>",
  ].join("");
}

/** The colours and what they stand for, with the share of the time in code of that kind. */
function legend(tree: Call): string[] {
  const own = new Map<Owner, number>();
  for (const call of everyCall(tree)) own.set(call.owner, (own.get(call.owner) ?? 0) + call.own);
  let x = margin;
  return (Object.keys(owners) as (keyof typeof owners)[]).flatMap((owner) => {
    const share = (own.get(owner) ?? 0) / tree.total;
    if (share < leastShare) return [];
    const text = `${owners[owner].label} ${percent(share)}`;
    const at = x;
    x += 18 + (text.length + 2) * letterWidth;
    return [
      `<rect class="${owner}" x="${short(at)}" y="60" width="12" height="12"/>`,
      `<text x="${short(at + 18)}" y="70">${escaped(text)}</text>`,
    ];
  });
}

/** The tree without the time in which the process waited: for a server, or for work. */
function working(tree: Call): Call {
  const calls = tree.calls.filter(({ owner }) => owner !== "waiting");
  return { ...tree, name: "all", calls, total: calls.reduce((sum, { total }) => sum + total, tree.own) };
}

export function flameSvg(title: string, whole: Call): string {
  const tree = working(whole);
  const placed = [...place(tree, tree.total * leastShare)];
  const rows = 1 + Math.max(...placed.map(({ depth }) => depth));
  const height = head + rows * rowHeight + foot;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    "<style>",
    "text { font: 11px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #222; pointer-events: none }",
    ".title { font: bold 16px system-ui, sans-serif } .about { font: 12px system-ui, sans-serif; fill: #555 }",
    "rect { stroke: #fff; stroke-width: .5 } g:hover rect { stroke: #222; stroke-width: 1 }",
    ...Object.entries(owners).map(([owner, { color }]) => `.${owner} { fill: ${color} }`),
    "</style>",
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text class="title" x="${margin}" y="26">${escaped(title)}</text>`,
    `<text class="about" x="${margin}" y="46">The process worked ${percent(tree.total / whole.total)} of the time; this is where. ` +
      `What a function called stands below it, the longest first; below ${percent(leastShare)} it is left out.</text>`,
    ...legend(tree),
    ...placed.map((one) => drawn(one, tree.total)),
    "</svg>",
  ];
  return `${lines.join("\n")}\n`;
}
