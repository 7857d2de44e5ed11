"use strict";
// Keys and clicks become actions; the server keeps the state and this page draws what it says.
const SVG = "http://www.w3.org/2000/svg";
const find = (id) => document.getElementById(id);
const view = find("view");
let state = null, current = 0, phrase = 0, clicks = [], adding = false;
let box = null, following = false; // the part of the image that is shown; whether it is that around the current object
const line = []; // what was asked for while something was in progress
let working = false;

async function send(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let response, answer;
  try {
    response = await fetch(path, options);
    answer = await response.json();
  } catch {
    throw new Error("The review does not answer: the last step may not be saved, all before it are. Start the review "
      + "again and open the address that it prints.");
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// One after the other, so that nothing is lost while the model works. What waits behind a step that fails was meant for
// another state than there is now: it is dropped.
async function enqueue(work) {
  line.push(work);
  if (working) return;
  working = true;
  document.body.setAttribute("aria-busy", "true");
  find("error").textContent = "";
  try {
    while (line.length) { await line.shift()(); draw(); }
  } catch (error) {
    line.length = 0;
    find("error").textContent = error.message;
  } finally {
    working = false;
    document.body.removeAttribute("aria-busy");
    draw();
  }
}

async function start(answer) {
  state = null; current = 0; phrase = 0; clicks = []; adding = false; following = false;
  draw();
  try { if (answer.id) await load(answer); } finally {
    state = answer;
    if (state.id) { box = [0, 0, state.width, state.height]; advance(); }
    line.length = 0; // was pressed before this image was to be seen
  }
}

// The image is there when this is; why it is not is in the error.
async function load({ id, width, height }) {
  const image = find("image"), path = `images/${id}`;
  if (image.getAttribute("href") === path) return;
  image.setAttribute("width", width);
  image.setAttribute("height", height);
  const shown = await new Promise((resolve) => {
    image.onload = () => resolve(true);
    image.onerror = () => resolve(false);
    image.setAttribute("href", path);
  });
  if (shown) return;
  image.removeAttribute("href");
  await send(path);
}

async function act(action, more = {}) {
  state = await send(`items/${state.id}/actions`, { action, revision: state.revision, ...more });
}

async function decide(verdict) {
  if (adding) throw new Error("Click the missed object first, or end that with Escape.");
  await act(verdict, { object: current });
  advance();
}

// The last step is taken back; of an image of which there is none, the image before it is taken up again.
async function undo() {
  if (!state.id || !state.actions) {
    if (!state.previous) throw new Error("There is nothing to undo.");
    const { id, revision } = state.previous;
    return start(await send(`items/${id}/actions`, { action: "undo", revision }));
  }
  const before = state.objects;
  await act("undo");
  const changed = before.findIndex((one, index) => JSON.stringify(one) !== JSON.stringify(state.objects[index]));
  if (changed >= state.objects.length) { // one that was added: its click may be made again
    adding = true; clicks = []; current = 0;
  } else if (changed >= 0 && changed !== current) {
    select(changed);
  } else {
    clicks = clicks.slice(0, -1);
  }
}

// To the next object that is open, from the current one on.
function advance() {
  const count = state.objects.length;
  for (let by = 0; by < count; by++) {
    const index = (current + by) % count;
    if (state.objects[index].verdict === "open") return select(index);
  }
  if (count) select(current);
}

function select(index) {
  current = index; clicks = []; adding = false;
  const at = state.phrases.findIndex((one) => one.phrase === state.objects[index].phrase);
  if (at >= 0) phrase = at;
  if (following) follow();
}

function step(by) {
  const count = state.objects.length;
  if (count) select((current + by + count) % count);
}

function turn(by) {
  const count = state.phrases.length;
  if (count) phrase = (phrase + by + count) % count;
  adding = false; clicks = [];
}

// Around the current object, with as much again on either side.
function follow() {
  const points = ringsOf(state.objects[current].outline).flat();
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((at) => at[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((at) => at[axis])));
  const side = Math.max(right - left, bottom - top, 24);
  box = [(left + right) / 2 - 1.5 * side, (top + bottom) / 2 - 1.5 * side, 3 * side, 3 * side];
}

function zoom() {
  following = !following && state.objects.length > 0 && box[2] === state.width;
  if (following) follow(); else box = [0, 0, state.width, state.height];
}

function ringsOf(geometry) {
  return geometry.type === "Polygon" ? geometry.coordinates : geometry.coordinates.flat();
}

function pointOf(event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse());
}

function make(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function label(name, className, text) {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

function draw() {
  const shown = Boolean(state?.id);
  view.setAttribute("visibility", shown ? "visible" : "hidden");
  view.toggleAttribute("hidden", Boolean(state) && !shown);
  find("end").hidden = !state || shown;
  if (state) {
    const { done, total } = state.progress;
    find("progress").textContent = `${done} of ${total} done`;
    find("bar").max = total || 1;
    find("bar").value = done;
    document.title = `${done} of ${total} – Review`;
  }
  find("name").textContent = shown ? state.name : "";
  find("name").title = shown ? state.name : "";
  find("note").textContent = shown ? state.note : "";
  find("hint").textContent = shown ? hint() : "";
  find("object").replaceChildren(...(shown ? currentObject() : []));
  find("phrases").replaceChildren(...(shown ? state.phrases.map(phraseLine) : []));
  find("objects").replaceChildren(...(shown ? outlines() : []));
  if (!shown) { find("clicks").replaceChildren(); return; }
  view.setAttribute("viewBox", box.join(" "));
  const radius = 6 / view.getScreenCTM().a;
  find("clicks").replaceChildren(...clicks.map(([x, y, positive]) => make("circle", {
    cx: x, cy: y, r: radius, class: positive ? "positive" : "negative",
  })));
}

function hint() {
  if (adding) return `Click the missed ${state.phrases[phrase].phrase}; Escape ends that.`;
  if (state.phrases.every((one) => one.completeness !== "open")) return "Everything is decided: Enter ends this image.";
  const open = state.objects.filter((one) => one.verdict === "open").length;
  if (open) return `To be decided: ${open === 1 ? "1 object" : `${open} objects`}.`;
  const names = state.phrases.filter((one) => one.completeness === "open").map((one) => one.phrase);
  return `No ${names.join(", no ")} yet: 0 if there is none, m to outline one.`;
}

function currentObject() {
  const one = state.objects[current];
  if (!one || adding) return [adding ? "a missed object" : "no objects"];
  const score = one.score === null ? "" : `, score ${one.score.toFixed(2)}`;
  return [`${current + 1} of ${state.objects.length}: ${one.phrase}${score} `, label("span", one.verdict, one.verdict)];
}

function phraseLine(one, index) {
  const of = state.objects.filter((o) => o.phrase === one.phrase);
  const [open, accepted] = ["open", "accepted"].map((verdict) => of.filter((o) => o.verdict === verdict).length);
  const said = { complete: "all outlined", absent: "none here", incomplete: "incomplete", open: "to decide" };
  const counts = [accepted && `${accepted} accepted`, open && `${open} open`];
  const words = [...counts, open ? "" : said[one.completeness]].filter(Boolean).join(", ");
  const button = document.createElement("button");
  button.append(label("span", "", one.phrase), label("span", "", words));
  button.setAttribute("aria-pressed", index === phrase);
  button.tabIndex = -1; // drawn anew with each step, so it could not keep the focus; the arrow keys lead here, too
  button.onclick = () => enqueue(async () => turn(index - phrase));
  const item = document.createElement("li");
  item.append(button);
  return item;
}

// The current object lies above the others.
function outlines() {
  const wanted = state.phrases[phrase]?.phrase;
  const drawn = state.objects.map((one, index) => {
    const chosen = index === current && !adding;
    const d = ringsOf(one.outline).map((ring) => "M" + ring.map((at) => at.join(" ")).join("L") + "Z").join("");
    const seams = (chosen ? ["seam", "seam"] : ["seam"]).map((name) => make("path", { d, class: name }));
    const group = make("g", { "data-object": index }, ...seams, make("path", { d, class: one.verdict }));
    if (chosen) group.classList.add("current");
    if (!chosen && one.phrase !== wanted) group.classList.add("other");
    return group;
  });
  return [...drawn.filter((one) => !one.matches(".current")), ...drawn.filter((one) => one.matches(".current"))];
}

view.addEventListener("click", (event) => {
  const { x, y } = pointOf(event), positive = !event.shiftKey;
  enqueue(async () => {
    if (!state?.id) return;
    const points = [...clicks, [x, y, positive]];
    if (adding) {
      await act("add", { phrase: state.phrases[phrase].phrase, points });
      select(state.objects.length - 1);
    } else if (state.objects.length) {
      await act("correct", { object: current, points });
    } else {
      throw new Error("There is no object here: press m to outline a missed one.");
    }
    clicks = points;
  });
});

view.addEventListener("contextmenu", (event) => {
  event.preventDefault();
  const at = pointOf(event);
  const size = (group) => { const { width, height } = group.getBBox(); return width * height; };
  const under = [...find("objects").children].filter((group) => group.lastChild.isPointInFill(at));
  const smallest = under.sort((one, other) => size(one) - size(other))[0];
  if (smallest) enqueue(async () => select(Number(smallest.dataset.object)));
});

view.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (!state?.id) return;
  const { x, y } = pointOf(event);
  const width = Math.min(state.width, Math.max(16, box[2] * (event.deltaY < 0 ? 0.8 : 1.25)));
  const by = width / box[2];
  following = false;
  box = width === state.width ? [0, 0, state.width, state.height]
    : [x - (x - box[0]) * by, y - (y - box[1]) * by, width, box[3] * by];
  draw();
}, { passive: false });

const KEYS = {
  a: async () => { await decide("accept"); },
  A: async () => { await act("accept_all"); advance(); },
  x: async () => { await decide("reject"); },
  n: async () => step(1),
  p: async () => step(-1),
  z: async () => zoom(),
  h: async () => { view.classList.toggle("bare"); },
  m: async () => { adding = state.phrases.length > 0; clicks = []; },
  0: async () => { await act("absent", { phrase: state.phrases[phrase]?.phrase }); advance(); },
  e: async () => { await act("incomplete", { phrase: state.phrases[phrase]?.phrase }); },
  u: undo,
  s: async () => { await act("skip"); await start(await send("next")); },
  ArrowRight: async () => step(1),
  ArrowLeft: async () => step(-1),
  ArrowDown: async () => turn(1),
  ArrowUp: async () => turn(-1),
  Enter: async () => { if (!state.done) await act("done"); await start(await send("next")); },
  Escape: async () => { adding = false; clicks = []; },
};

function press(key) {
  if (key !== "h") view.classList.remove("bare"); // nobody decides what is not to be seen
  enqueue(async () => { if (state && (state.id || key === "u")) await KEYS[key](); });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
  if (event.key === "Enter" && event.target.closest("button")) return; // the button that has the focus
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) press(event.key); // a key that is held decides once
});

for (const button of document.querySelectorAll("[data-key]")) {
  button.onclick = () => press(button.dataset.key);
}
// a click leaves the focus where it was: Enter would press the button again
document.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });

enqueue(async () => start(await send("next")));
