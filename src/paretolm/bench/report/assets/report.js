"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;

// Okabe and Ito's palette, darkened or lightened so that every colour stands out from its page.
const COLOURS = {
  light: { dense: "#16191d", prompt: "#8a5a00", tokens: "#6b6b00", weights: "#00795a", block: "#5b5f66",
           frequency: "#3a7ca5", index: "#3a7ca5", attend: "#a5447a", keep: "#0b5fb0", store: "#bf4800",
           decode: "#7a6a00", logits: "#8c3b00", mixed: "#6a3fa0" },
  dark: { dense: "#e9ecf0", prompt: "#e6b04a", tokens: "#d6d24a", weights: "#3fcf9f", block: "#a3acb8",
          frequency: "#7cc4ea", index: "#7cc4ea", attend: "#ea8fc0", keep: "#6aaeff", store: "#ff8a4c",
          decode: "#e8d44d", logits: "#ffab7d", mixed: "#bb9cf0" },
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];

const theme = () => root.dataset.theme;
const colour = (family) => COLOURS[theme()][family];
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
// Plotly reads a little HTML in its labels.
const safe = (s) => String(s).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const short = (s, n = 46) => (s.length > n ? s.slice(0, n - 1) + "…" : s);

const titled = (axis) => ({ ...axis, title: { ...axis.title, font: { size: 13 }, standoff: 10 } });

function layout(x, y, extra) {
  const axis = { gridcolor: css("--grid"), linecolor: css("--line"), zerolinecolor: css("--grid"), automargin: true,
                 tickfont: { size: 12 }, exponentformat: "none" };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
    margin: { l: 60, r: 24, t: 12, b: 50 }, dragmode: false,
    hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left" },
    xaxis: { ...axis, ...titled(x) }, yaxis: { ...axis, ...titled(y) }, ...extra,
  };
}
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
function sizeText(v) {
  let i = 0;
  while (v >= 1024 && i < 4) { v /= 1024; i++; }
  return (v >= 10 || Number.isInteger(v) ? Math.round(v) : v.toFixed(1)) + " " + UNITS[i];
}
/** Powers of two between the ends, at most seven. */
function sizeTicks(low, high) {
  const first = Math.ceil(Math.log2(low) - 0.3), last = Math.floor(Math.log2(high) + 0.3);
  const step = Math.max(1, Math.ceil((last - first + 1) / 7)), at = [];
  for (let e = first; e <= last; e += step) at.push(2 ** e);
  return at;
}
const NICE = [1, 2, 5];
function logTicks(low, high) {
  const at = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high) + 1; e++)
    for (const m of NICE) if (m * 10 ** e >= low * 0.8 && m * 10 ** e <= high * 1.25) at.push(m * 10 ** e);
  return at;
}
function yAxis(title, log, values) {
  if (!log) return { title: { text: safe(title) } };
  const ticks = logTicks(Math.min(...values), Math.max(...values));
  return { title: { text: safe(title) }, type: "log", tickvals: ticks, ticktext: ticks.map((t) => t.toLocaleString("en")) };
}

const LABELS = { cache: "cache bytes held", weights: "weight bytes", total: "cache and weight bytes" };

function xAxis(axis, xs) {
  if (axis === "speed") return { title: { text: "decoding speed against untouched, more is better →" }, ticksuffix: "×" };
  const low = Math.min(...xs), high = Math.max(...xs), ticks = sizeTicks(low, high);
  return { title: { text: `${LABELS[axis]} (log), ← less is better` }, type: "log", tickvals: ticks, ticktext: ticks.map(sizeText),
           range: [Math.log10(low) - 0.08, Math.log10(high) + 0.08] };
}

function drawTrade(place, chart, metric, axis) {
  const points = chart.points.map((p) => ({ ...p, drawn: p.beyond ? chart.limit : p.y }));
  if (!points.length) { Plotly.purge(place); place.textContent = "Nothing was measured on this axis."; return; }
  const front = points.filter((p) => p.frontier && !p.beyond).sort((a, b) => a.x - b.x);
  const bars = (value, low, high) => ({
    type: "data", symmetric: false, thickness: 1.2, width: 3, color: css("--soft"),
    array: points.map((p) => (p[high] === null || p.beyond ? 0 : p[high] - p[value])),
    arrayminus: points.map((p) => (p[low] === null || p.beyond ? 0 : p[value] - p[low])),
  });
  const joined = { x: front.map((p) => p.x), y: front.map((p) => p.y), mode: "lines", hoverinfo: "skip",
                   line: { color: css("--ink"), width: 1.5, dash: "dot" } };
  const truth = { x: points.map((p) => p.x), y: points.map((p) => p.drawn), mode: "markers", hoverinfo: "skip",
                  marker: { size: 5, color: points.map((p) => colour(p.family)) },
                  error_x: bars("x", "x_low", "x_high"), error_y: bars("y", "y_low", "y_high") };
  const better = chart.higher ? "more is better →" : "← less is better", unit = chart.unit ? ` (${chart.unit})` : "";
  const style = layout(xAxis(axis, points.map((p) => p.x)), { title: { text: safe(`change of ${metric}${unit}, ${better}`) }, zeroline: true, zerolinecolor: css("--soft") });
  if (chart.limit !== null) {
    // The axis ends where the points do, not where the longest interval does.
    const seen = points.map((p) => p.drawn), low = Math.min(...seen), high = Math.max(...seen), pad = 0.12 * (high - low || 1);
    style.yaxis.range = [low - pad, high + pad];
  }
  Plotly.react(place, [joined, truth], style, CONFIG).then(() => addBadges(place, points, metric, joined, truth, style));
}

/** The numbered marks, moved apart where they would cover one another; a thin line leads back to the true place. */
function addBadges(place, points, metric, joined, truth, style) {
  const { xaxis, yaxis } = place._fullLayout;
  const at = points.map((p) => ({ p, x: xaxis.d2p(p.x), y: yaxis.d2p(p.drawn) }));
  const home = at.map(({ x, y }) => [x, y]);
  const edge = at.filter((a) => a.p.beyond).sort((a, b) => a.x - b.x);
  edge.forEach((a, i) => { if (i && a.x - edge[i - 1].x < 150) a.y = edge[i - 1].y + (edge[i - 1].y > yaxis._length / 2 ? -26 : 26); });
  for (let round = 0; round < 200; round++)
    for (let i = 0; i < at.length; i++) for (let j = i + 1; j < at.length; j++) {
      let dx = at[j].x - at[i].x, dy = at[j].y - at[i].y, d = Math.hypot(dx, dy);
      if (d >= 23) continue;
      if (d < 0.01) { const angle = 2.4 * j; dx = Math.cos(angle); dy = Math.sin(angle); d = 1; }
      const push = (23 - d) / 2 / d;
      at[i].x -= dx * push; at[i].y -= dy * push; at[j].x += dx * push; at[j].y += dy * push;
    }
  const leads = { x: [], y: [], mode: "lines", hoverinfo: "skip", line: { width: 1, color: css("--soft") }, cliponaxis: false };
  at.forEach((a, i) => {
    a.y = Math.min(a.y, yaxis._length - 4);
    if (Math.hypot(a.x - home[i][0], a.y - home[i][1]) < 3) return;
    leads.x.push(a.p.x, xaxis.p2d(a.x), null); leads.y.push(a.p.drawn, yaxis.p2d(a.y), null);
  });
  const badges = {
    x: at.map((a) => xaxis.p2d(a.x)), y: at.map((a) => yaxis.p2d(a.y)), mode: "markers+text", cliponaxis: false,
    text: points.map((p) => String(p.number)), textfont: { color: css("--on-mark"), size: 11 },
    marker: { size: 21, opacity: 1, color: points.map((p) => colour(p.family)),
              symbol: points.map((p) => (p.beyond ? "square" : "circle")),
              line: { width: points.map((p) => (p.frontier ? 2.5 : 1)), color: points.map((p) => (p.frontier ? css("--ink") : css("--card"))) } },
    hovertemplate: points.map((p) => `<b>${p.number} ${safe(short(p.name))}</b><br>${safe(metric)} ${safe(p.y_text)}`
      + (p.delta ? `<br>against untouched ${safe(p.delta)}` : "") + `<br>${safe(p.x_text)}`
      + (p.unseen.length ? `<br>this task does not see ${safe(p.unseen.join(", "))}` : "") + "<extra></extra>"),
  };
  const annotations = at.filter((a) => a.p.beyond).map((a) => {
    const right = a.x < xaxis._length / 2;  // which side has room
    return { x: xaxis.type === "log" ? Math.log10(xaxis.p2d(a.x)) : xaxis.p2d(a.x), y: yaxis.p2d(a.y), showarrow: false,
             text: `off the chart: ${a.p.y.toPrecision(3)}`, xanchor: right ? "left" : "right", xshift: right ? 13 : -13,
             font: { size: 11, color: css("--soft") } };
  });
  const fixed = { ...style, annotations, xaxis: { ...style.xaxis, range: [...xaxis.range], autorange: false },
                  yaxis: { ...style.yaxis, range: [...yaxis.range], autorange: false } };
  Plotly.react(place, [joined, truth, leads, badges], fixed, CONFIG);
}

function drawCurve(place, chart) {
  const ends = [], lines = chart.lines.map((line, i) => {
    const c = colour(line.family), last = line.x.length - 1;
    ends.push({ x: line.at[last], y: line.y[last], text: String(line.number), colour: c });
    return {
      x: line.at, y: line.y, mode: "lines+markers", name: line.name, marker: { size: 5, color: c },
      line: { color: c, width: line.family === "dense" ? 3.5 : 1.8, dash: line.family === "dense" ? "solid" : DASHES[i % 5] },
      hovertemplate: line.x.map((x, k) => `<b>${line.number} ${safe(short(line.name))}</b><br>${safe(chart.x_name)} from ${x}: `
        + `${line.y[k].toPrecision(4)}` + (line.low.length && line.low[k] !== null
          ? ` [${line.low[k].toPrecision(4)}, ${line.high[k].toPrecision(4)}]` : "") + "<extra></extra>"),
    };
  });
  const xs = chart.lines.flatMap((l) => l.at), ys = chart.lines.flatMap((l) => l.y);
  const ticks = [...new Set(chart.lines.flatMap((l) => l.x))].filter((t) => t > 0).sort((a, b) => a - b);
  if (ticks.length) ticks.push(2 * ticks[ticks.length - 1]);
  const logY = (v) => (chart.log ? Math.log10(v) : v);
  const annotations = spread(ends, chart.log, place.clientHeight - 70, ys).map((e) => ({
    x: Math.log10(e.x), y: logY(e.y), text: `<b>${e.text}</b>`, showarrow: e.shift !== 0, ax: 26, ay: e.shift, xanchor: "left",
    arrowhead: 0, arrowwidth: 1, arrowcolor: e.colour, xshift: e.shift ? 0 : 6, font: { color: e.colour, size: 12 },
  }));
  const shapes = [];
  const near = chart.trained >= Math.min(...xs) / 2 && chart.trained <= Math.max(...xs) * 1.42;
  const reach = [Math.min(...xs, ...(near ? [chart.trained] : [])), Math.max(...xs, ...(near ? [chart.trained] : []))];
  if (near) {
    shapes.push({ type: "line", x0: chart.trained, x1: chart.trained, yref: "paper", y0: 0, y1: 1,
                  line: { color: css("--soft"), width: 1.5, dash: "dash" } });
    annotations.push({ x: Math.log10(chart.trained), yref: "paper", y: 1, text: "trained length", showarrow: false,
                       xanchor: "left", xshift: 5, yanchor: "top", font: { color: css("--soft"), size: 12 } });
  }
  Plotly.react(place, lines, layout(
    { title: { text: safe(`${chart.x_name} (log)`) }, type: "log", range: [Math.log10(reach[0]) - 0.04, Math.log10(reach[1]) + 0.02], tickvals: ticks, ticktext: ticks.map((t) => t.toLocaleString("en")) },
    yAxis(chart.metric, chart.log, ys), { annotations, shapes, margin: { l: 60, r: 48, t: 12, b: 50 } }), CONFIG);
}

/** Moves the numbers at the ends of lines apart so that all can be read. */
function spread(ends, log, height, values) {
  const f = (v) => (log ? Math.log(v) : v), low = Math.min(...values.map(f)), high = Math.max(...values.map(f));
  const scale = high > low ? height / ((high - low) * 1.12) : 0;
  const sorted = ends.map((e) => ({ ...e, at: (high - f(e.y)) * scale })).sort((a, b) => a.at - b.at);
  let below = -Infinity;
  for (const e of sorted) { e.label = Math.max(e.at, below + 14); below = e.label; }
  const over = sorted.length ? Math.max(0, sorted[sorted.length - 1].label - height) : 0;
  let above = Infinity;
  for (const e of [...sorted].reverse()) { e.label = Math.min(e.label, above - 14, Math.max(e.at, e.label - over)); above = e.label; }
  return sorted.map((e) => ({ ...e, shift: Math.round(e.label - e.at) }));
}

function draw() {
  document.querySelectorAll("[data-family]").forEach((el) => {
    el.style.background = colour(el.dataset.family);
  });
  const choice = document.getElementById("metric");
  if (choice) {
    const trade = data.trades[choice.value];
    const bytes = document.getElementById("bytes").value;
    drawTrade(document.getElementById("trade-bytes"), trade.axes[bytes], trade.metric, bytes);
    drawTrade(document.getElementById("trade-speed"), trade.axes.speed, trade.metric, "speed");
    document.querySelectorAll("[data-trade]").forEach((t) => { t.hidden = t.dataset.trade !== choice.value; });
  }
  data.curves.forEach((chart, i) => drawCurve(document.getElementById(`curve-${i}`), chart));
}

function sortable(table) {
  table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    const th = button.parentElement, column = [...th.parentElement.children].indexOf(th);
    const down = th.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((h) => h.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.children[column].dataset.v;
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const [p, q] = [key(a), key(b)];
      if (p === "" || q === "") return (p === "") - (q === "");  // what was not measured stays at the end
      const order = isNaN(p) || isNaN(q) ? p.localeCompare(q) : p - q;
      return down ? -order : order;
    }).forEach((row) => body.append(row));
  }));
}

document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  draw();
});
for (const id of ["metric", "bytes"]) document.getElementById(id)?.addEventListener("change", draw);
document.querySelectorAll("table.sortable").forEach(sortable);
draw();
