// Numbers of an answer: how they are told, and the chart of what the cache held.

const ARMS = ["with", "without"];
const STEPS = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];

export function bytes(count) {
  const [unit, size] = STEPS.find(([, size]) => count >= size) ?? ["bytes", 1];
  const value = count / size;
  return `${size === 1 || value >= 100 ? Math.round(value) : value.toFixed(value < 10 ? 2 : 1)} ${unit}`;
}

const speed = (rate) => (rate == null ? "–" : rate.toFixed(rate < 10 ? 2 : 1));
const seconds = (value) => (value == null ? "–" : `${value.toFixed(2)} s`);
const share = (f) => Math.round((100 * f.kv_bytes) / f.dense_kv_bytes);

// Tokens a second of a stream, as they arrive here.
export class Clock {
  hear(tokens) {
    const now = performance.now();
    this.began ??= { now, tokens };
    const passed = (now - this.began.now) / 1000;
    return passed > 0.25 ? (tokens - this.began.tokens) / passed : null;
  }
}

// One line below an answer. f: the server's figures, with tokens_per_second as measured so far.
export function line(arm, f) {
  const told = [`${speed(f.tokens_per_second)} tokens/s`, `first token after ${seconds(f.seconds_to_first)}`];
  const beside = arm === "without" || f.dense_kv_bytes == null ? "" : `, ${share(f)}% of the untouched model's`;
  return [...told, `cache ${bytes(f.kv_bytes)}${beside}`].join(" · ");
}

export class Panel {
  constructor(root) {
    this.root = root;
    this.clear();
  }

  clear() {
    this.points = { with: [], without: [] };
    this.fresh();
    this.draw();
  }

  // Before another turn.
  fresh() {
    this.measured = false;
    for (const cell of this.root.querySelectorAll("td[data-is]")) cell.textContent = "–";
    for (const id of ["share", "beside"]) this.root.querySelector(`#${id}`).hidden = true;
  }

  cell(arm, what, text, kind = "") {
    const cell = this.root.querySelector(`td.${arm}[data-is="${what}"]`);
    cell.textContent = text;
    cell.className = `${arm} ${kind}`;
  }

  // live: while it streams. tokens: of the prompt and the answer.
  show(arm, f, tokens, live) {
    const kind = live ? "live" : "";
    this.cell(arm, "speed", speed(f.tokens_per_second), kind);
    this.cell(arm, "first", seconds(f.seconds_to_first), kind);
    this.cell(arm, "held", bytes(f.kv_bytes), kind);
    this.cell(arm, "index", f.index_bytes ? bytes(f.index_bytes) : "nothing", kind);
    if (f.index_bytes) this.root.querySelector("#beside").hidden = false;
    if (arm === "without") this.measured = true;
    else this.compare(f);
    if (live && f.dense_kv_bytes === this.weighed) return; // the cache is weighed now and then
    this.weighed = f.dense_kv_bytes;
    this.points[arm].push([tokens, f.kv_bytes]);
    if (arm === "with" && f.dense_kv_bytes != null) this.points.without.push([tokens, f.dense_kv_bytes]);
    this.draw();
  }

  // What the untouched model would hold, computed, until it is asked itself.
  compare(f) {
    if (f.dense_kv_bytes == null) return;
    const bar = this.root.querySelector("#share");
    bar.hidden = false;
    bar.firstElementChild.style.width = `${Math.min(100, share(f))}%`;
    if (!this.measured) this.cell("without", "held", bytes(f.dense_kv_bytes), "computed");
  }

  draw() {
    const chart = this.root.querySelector("#chart");
    const all = ARMS.flatMap((arm) => this.points[arm]);
    chart.replaceChildren();
    chart.toggleAttribute("hidden", all.length < 2);
    if (all.length < 2) return;
    const [most, highest] = [0, 1].map((axis) => Math.max(...all.map((point) => point[axis])));
    const place = ([x, y]) => `${(4 + (312 * x) / most).toFixed(1)},${(130 - (110 * y) / highest).toFixed(1)}`;
    add(chart, "line", { x1: 4, y1: 130, x2: 316, y2: 130 });
    for (const arm of ARMS.toReversed()) {
      const points = this.points[arm].toSorted((a, b) => a[0] - b[0]).map(place).join(" ");
      add(chart, "polyline", { points, class: arm });
    }
    add(chart, "text", { x: 4, y: 12 }, `${bytes(highest)} of cache`);
    add(chart, "text", { x: 4, y: 146 }, "0 tokens");
    add(chart, "text", { x: 316, y: 146, "text-anchor": "end" }, `${most.toLocaleString("en")} tokens read and written`);
    const last = ARMS.map((arm) => this.points[arm].at(-1)?.[1]);
    chart.setAttribute("aria-label", `Bytes of the cache by tokens: at ${most} tokens ${last.map((b) => (b == null ? "unknown" : bytes(b))).join(" with the recipe, untouched ")}`);
  }
}

function add(parent, name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  parent.append(node);
}
