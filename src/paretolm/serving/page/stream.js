// What the page asks of the server, and how its answers are read.

const KEY = "paretolm-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// What went wrong, as a sentence; status: of HTTP, 0 where there is none.
export class Trouble extends Error {
  constructor(text, status = 0) {
    super(sentence(text));
    this.status = status;
  }
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

async function call(path, { headers, ...options } = {}) {
  const own = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  let got;
  try {
    got = await fetch(path, { ...options, headers: { ...own, ...headers }, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("the server cannot be reached; see whether it still runs, then send again");
  }
  if (got.ok) return got;
  const told = await got.json().catch(() => null);
  throw new Trouble(told?.error?.message ?? `the server answered ${got.status} ${got.statusText}`, got.status);
}

// The models that are served, the one under the recipe first.
export async function models() {
  return (await (await call("v1/models")).json()).data;
}

// The chunks of an answer as they come. Leaving the loop or aborting the signal frees the model.
export async function* chunks(asked, signal) {
  const body = JSON.stringify({ ...asked, stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } });
  const headers = { "Content-Type": "application/json" };
  const got = await call("v1/chat/completions", { method: "POST", headers, body, signal });
  for await (const data of lines(got.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Trouble(chunk.error.message);
    yield chunk;
  }
  throw new Trouble("the connection ended before the answer did; send again");
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (left + value).split("\n\n");
      left = events.pop();
      for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("the connection broke before the answer ended; send again");
  } finally {
    reader.cancel().catch(() => {});
  }
}
