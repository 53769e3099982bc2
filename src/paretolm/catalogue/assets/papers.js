"use strict";
const words = document.getElementById("words");
const runs = document.getElementById("runs");
const choices = ["family", "kind", "slot", "need", "verdict"].map((id) => document.getElementById(id));
const papers = [...document.querySelectorAll(".paper")].map((node) => ({ node, text: node.textContent.toLowerCase() }));

function draw() {
  const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { node, text } of papers) {
    const fits = asked.every((word) => text.includes(word))
      && choices.every((c) => !c.value || node.dataset[c.id].split("|").includes(c.value))
      && (!runs.checked || "runs" in node.dataset);
    node.hidden = !fits;
    shown += fits;
  }
  for (const day of document.querySelectorAll(".day")) day.hidden = !day.querySelector(".paper:not([hidden])");
  document.getElementById("shown").textContent = `${shown} shown`;
}

words.form.addEventListener("submit", (event) => event.preventDefault());
words.form.addEventListener("input", draw);
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";
draw();
