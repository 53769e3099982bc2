// The chat. What was said is kept in this page alone; each answer begins from all of it.

import { Trouble, chunks, key, models } from "./stream.js";
import { Clock, Panel, line } from "./figures.js";

const $ = (id) => document.getElementById(id);
const TITLES = { with: "With the recipe", without: "Untouched" };
const panel = new Panel($("numbers"));
let served = null; // {name, untouched}
let said = []; // messages so far
let running = null; // AbortController of the answer that is being written

// --- who is here ---

async function meet() {
  try {
    const [first] = await models();
    show(first);
    trouble("");
  } catch (error) {
    fail(error);
  }
}

function show(model) {
  const { recipe, in_weights: inWeights, untouched } = model.paretolm;
  served = { name: model.id, untouched, arm: recipe || inWeights ? "with" : "without" };
  $("model").textContent = model.id;
  document.title = `${model.id} – ParetoLM`;
  const code = document.createElement("code");
  code.textContent = [inWeights, recipe].filter(Boolean).join(" + ");
  $("recipe").replaceChildren(...(code.textContent ? ["under ", code] : ["the untouched model: no recipe is in force"]));
  $("numbers").classList.toggle("alone", served.arm === "without");
  const why = inWeights
    ? "The recipe is in the weights for good, so the untouched model is not here to be asked; serve it beside, on another --port. "
    : "";
  const computed = "Grey: computed for as many tokens, not measured. ";
  $("note").textContent = `${why}${served.arm === "with" ? computed : ""}Up to ${model.max_model_len.toLocaleString("en")} tokens of conversation and answer.`;
  $("key").hidden = !key.get();
  $("key").textContent = "Forget the key";
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

function fail(error) {
  if (error.status === 401) {
    $("refused").textContent = key.get() ? error.message : "";
    key.forget();
    $("key").hidden = false;
    $("key").textContent = "Enter a key";
    if (!$("door").open) $("door").showModal();
  } else {
    trouble(error instanceof Trouble ? error.message : `This page failed: ${error.message}.`);
  }
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("given").value.trim());
  $("given").value = "";
  $("door").close();
  meet();
});
$("leave").addEventListener("click", () => $("door").close());
$("key").addEventListener("click", () => {
  key.forget();
  meet();
});

// --- a turn ---

function make(name, kind, ...inside) {
  const node = document.createElement(name);
  node.className = kind;
  node.append(...inside);
  return node;
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("say").value.trim();
  if (!text || running || !served) return;
  const turn = make("article", "turn", make("p", "said you", text), make("div", "answers"));
  const asked = settings(text);
  $("log").append(turn);
  scroller().scrollTop = scroller().scrollHeight;
  $("say").value = "";
  panel.fresh();
  const answer = await write(turn, served.name, served.arm, asked);
  if (answer === null) {
    turn.remove();
    $("say").value ||= text;
    return;
  }
  said.push({ role: "user", content: text }, { role: "assistant", content: answer.trim() });
  if (served.untouched) offer(turn, asked);
});

// What is asked of both models alike.
function settings(text) {
  const system = $("system").value.trim();
  const asked = {
    messages: [...(system ? [{ role: "system", content: system }] : []), ...said, { role: "user", content: text }],
    temperature: Number($("temperature").value),
    seed: Math.floor(Math.random() * 2 ** 31),
  };
  if ($("most").value) asked.max_tokens = Number($("most").value);
  return asked;
}

function offer(turn, asked) {
  const button = make("button", "", "Answer with the untouched model too");
  button.type = "button";
  button.addEventListener("click", async () => {
    if (running) return;
    button.hidden = true;
    button.hidden = (await write(turn, served.untouched, "without", asked)) !== null;
  });
  turn.append(button);
}

// Streams one answer into the turn. Its text, null where there is none.
async function write(turn, model, arm, asked) {
  const text = make("p", "said");
  const cost = make("p", "cost");
  const box = make("div", `answer ${arm}`, make("h3", "", TITLES[arm]), text, cost);
  turn.querySelector(".answers").append(box);
  box.setAttribute("aria-busy", "true"); // a reader of the screen is told the whole of it
  busy(new AbortController());
  trouble("");
  try {
    await hear(chunks({ ...asked, model }, running.signal), arm, text, cost);
  } catch (error) {
    if (error.name === "AbortError") cost.append(" · stopped");
    else fail(error);
  } finally {
    busy(null);
    box.removeAttribute("aria-busy");
  }
  if (!text.textContent) box.remove();
  return text.textContent || null;
}

// What scrolls: the conversation alone, where there is room for all else.
function scroller() {
  return $("log").scrollHeight > $("log").clientHeight ? $("log") : document.scrollingElement;
}

async function hear(stream, arm, text, cost) {
  const clock = new Clock();
  for await (const { choices, usage, paretolm } of stream) {
    const end = scroller();
    const near = end.scrollHeight - end.clientHeight - end.scrollTop < 80;
    const piece = choices[0]?.delta.content ?? "";
    text.append(text.textContent ? piece : piece.trimStart());
    if (paretolm) {
      const live = choices.length > 0; // the last chunk has none, and the server's own rate
      const f = live ? { ...paretolm, tokens_per_second: clock.hear(usage.completion_tokens) } : paretolm;
      panel.show(arm, f, usage.total_tokens, live);
      cost.textContent = line(arm, f);
    }
    if (choices[0]?.finish_reason === "stop" && !text.textContent) text.textContent = "(nothing)";
    if (near) end.scrollTop = end.scrollHeight;
  }
}

// --- the keyboard, and what stands around ---

function busy(controller) {
  running = controller;
  $("stop").hidden = !controller;
  $("send").disabled = Boolean(controller);
}

$("stop").addEventListener("click", () => {
  running?.abort();
  $("say").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("door").open) running?.abort();
});
$("say").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});
$("anew").addEventListener("click", () => {
  running?.abort();
  said = [];
  $("log").replaceChildren();
  panel.clear();
  trouble("");
  $("say").focus();
});
const root = document.documentElement;
$("theme").addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) root.dataset.theme = "dark";
meet();
