"use strict";
const family = document.getElementById("family");
const buttons = [...document.querySelectorAll(".verdicts button")];
let state = "";

function draw() {
  let shown = 0;
  document.querySelectorAll(".paper").forEach((paper) => {
    let some = 0;
    paper.querySelectorAll(".claim").forEach((claim) => {
      const fits = (!state || claim.dataset.state === state) && (!family.value || paper.dataset.family === family.value);
      claim.hidden = !fits;
      some += fits;
    });
    paper.hidden = !some;
    shown += some;
  });
  buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.state === state)));
  document.getElementById("shown").textContent = `${shown} shown`;
}

buttons.forEach((b) => b.addEventListener("click", () => { state = state === b.dataset.state ? "" : b.dataset.state; draw(); }));
family.addEventListener("change", draw);
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";
draw();
