"use strict";
// Okabe and Ito's palette, darkened so that every colour stands out from a white page.
const COLOURS = ["#0b5fb0", "#bf4800", "#00795a", "#a5447a", "#7a6a00", "#3a7ca5", "#6a3fa0", "#16191d"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
// Plotly reads a little HTML in its labels.
const safe = (s) => String(s).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function trace(line, i) {
  const colour = COLOURS[i % COLOURS.length];
  const around = line.low.length
    ? { type: "data", symmetric: false, array: line.high.map((h, k) => h - line.y[k]),
        arrayminus: line.low.map((l, k) => line.y[k] - l), color: colour, thickness: 1 }
    : undefined;
  return { name: safe(line.name), x: line.x, y: line.y, mode: line.points ? "markers" : "lines+markers",
           line: { color: colour, dash: DASHES[Math.floor(i / COLOURS.length) % DASHES.length] },
           marker: { color: colour, size: 6 }, error_y: around };
}

JSON.parse(document.getElementById("data").textContent).forEach((figure, i) => {
  const axis = (name, log) => ({ title: { text: safe(name) }, type: log ? "log" : "linear", automargin: true });
  Plotly.newPlot(`figure-${i}`, figure.lines.map(trace), {
    margin: { l: 60, r: 24, t: 12, b: 50 }, dragmode: false, hovermode: "closest",
    showlegend: figure.lines.length > 1, legend: { orientation: "h", y: -0.25 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: axis(figure.x_name, figure.log_x), yaxis: axis(figure.y_name, figure.log_y),
  }, { displaylogo: false, responsive: true, displayModeBar: false });
});
