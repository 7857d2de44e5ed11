"use strict";
// Keys and clicks become actions; the server keeps the state and this page draws what it says.
const SVG = "http://www.w3.org/2000/svg";
const find = (id) => document.getElementById(id);
let state = null, current = 0, phrase = 0, clicks = [], adding = false, busy = false, previous = null;

async function send(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(text) { find("message").textContent = text; }

async function once(work) {
  if (busy) return;
  busy = true;
  try { await work(); } catch (error) { say(error.message); } finally { busy = false; draw(); }
}

function start(answer) {
  state = answer; current = 0; phrase = 0; clicks = []; adding = false;
  say(state.id ? "" : "Everything is reviewed.");
  if (state.id) {
    find("image").setAttribute("href", `images/${state.id}`);
    find("image").setAttribute("width", state.width);
    find("image").setAttribute("height", state.height);
    find("view").setAttribute("viewBox", `0 0 ${state.width} ${state.height}`);
    advance();
  }
}

async function act(action, more = {}) {
  state = await send(`items/${state.id}/actions`, { action, revision: state.revision, ...more });
  say("");
}

// the image before this one is taken up again
async function back() {
  const answer = await send(`items/${previous.id}/actions`, { action: "undo", revision: previous.revision });
  previous = null;
  start(answer);
}

function advance() {
  const open = state.objects.findIndex((one) => one.verdict === "open");
  if (open >= 0) select(open); else draw();
}

function select(index) {
  current = index; clicks = []; adding = false;
  const at = state.phrases.findIndex((one) => one.phrase === state.objects[index].phrase);
  if (at >= 0) phrase = at;
  draw();
}

function pathOf(geometry) {
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  return polygons.flat().map((ring) => "M" + ring.map((at) => at.join(" ")).join("L") + "Z").join("");
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function draw() {
  if (!state || !state.id) { find("view").setAttribute("visibility", "hidden"); }
  if (!state) return;
  find("progress").textContent = `${state.progress.done} of ${state.progress.total} done`;
  if (!state.id) { find("objects").replaceChildren(); find("phrases").replaceChildren(); return; }
  find("view").setAttribute("visibility", "visible");
  find("name").textContent = state.name;
  find("note").textContent = state.note;
  const wanted = state.phrases[phrase]?.phrase;
  find("objects").replaceChildren(...state.objects.map((one, index) => make("path", {
    d: pathOf(one.outline),
    class: `${one.verdict} ${index === current && !adding ? "current" : ""} ${one.phrase === wanted ? "" : "other"}`,
  })));
  const radius = Math.max(state.width, state.height) / 150;
  find("clicks").replaceChildren(...clicks.map(([x, y, positive]) => make("circle", {
    cx: x, cy: y, r: radius, class: positive ? "positive" : "negative",
  })));
  find("phrases").replaceChildren(...state.phrases.map((one, index) => {
    const line = document.createElement("li");
    const count = state.objects.filter((o) => o.phrase === one.phrase && o.verdict !== "rejected").length;
    line.textContent = `${one.phrase}: ${count}, ${one.completeness}`;
    line.className = index === phrase ? "current" : "";
    return line;
  }));
  if (adding) say(`Click the missed ${wanted}.`);
}

find("view").addEventListener("click", (event) => once(async () => {
  if (!state?.id) return;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(find("view").getScreenCTM().inverse());
  const more = [...clicks, [at.x, at.y, !event.shiftKey]];
  if (adding) {
    await act("add", { phrase: state.phrases[phrase].phrase, points: more });
    current = state.objects.length - 1; adding = false;
  } else if (state.objects.length) {
    await act("correct", { object: current, points: more });
  } else {
    throw new Error("Press m to outline a missed object.");
  }
  clicks = more;
}));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = (by) => { const n = state.objects.length; if (n) select((current + by + n) % n); };
  const keys = {
    a: async () => { await act("accept", { object: current }); advance(); },
    A: async () => { await act("accept_all"); advance(); },
    x: async () => { await act("reject", { object: current }); advance(); },
    n: async () => step(1),
    p: async () => step(-1),
    m: async () => { adding = true; clicks = []; },
    0: async () => { await act("absent", { phrase: state.phrases[phrase].phrase }); advance(); },
    e: async () => { await act("incomplete", { phrase: state.phrases[phrase].phrase }); },
    u: async () => {
      clicks = clicks.slice(0, -1); adding = false;
      if (previous && !state.revision) return back();
      await act("undo"); current = Math.min(current, Math.max(0, state.objects.length - 1));
    },
    Tab: async () => { phrase = (phrase + (event.shiftKey ? -1 : 1) + state.phrases.length) % state.phrases.length; },
    Enter: async () => { await act("done"); previous = state; start(await send("next")); },
    Escape: async () => { adding = false; clicks = []; say(""); },
  };
  if (!(event.key in keys) || !state || !(state.id || (event.key === "u" && previous))) return;
  event.preventDefault();
  once(keys[event.key]);
});

once(async () => start(await send("next")));
