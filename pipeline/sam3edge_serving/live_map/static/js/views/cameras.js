// The last frame of each camera with its outlines.
import { Elements, draw, find, make, say } from "../dom.js";
import { pathOf } from "../geometry.js";
import { LIMITS } from "../limits.js";
import { byPlace } from "../order.js";
import { clock, counted, duration, tally } from "../words.js";

const LETTER = 0.6; // width of a letter over its height, about
const FRESH = 30_000; // milliseconds for which a picture is shown before newer outlines without one

export class CamerasView {
  #state;
  #config;
  #selection;
  #palette;
  #ask;
  #cards;
  #drawn = new WeakMap(); // what a card shows: { version, pictured }
  #chosen = new WeakMap(); // whether somebody wants to see a card's picture, though there are newer frames
  #seen; // cards that are on the screen
  onScreen = new Set(); // cameras of those

  // ask(camera): have the device send a picture.
  constructor(state, config, selection, palette, ask) {
    this.#state = state;
    this.#config = config;
    this.#selection = selection;
    this.#palette = palette;
    this.#ask = ask;
    this.#cards = new Elements(
      find("camera-list"),
      (camera) => this.#card(camera),
      (card, camera) => this.#update(card, camera),
    );
    this.#seen = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (isIntersecting) this.onScreen.add(target.camera);
          else this.onScreen.delete(target.camera);
        }
      },
      { rootMargin: "200px" },
    );
  }

  render(now) {
    this.now = now;
    const chosen = this.#selection.key;
    const cameras = this.#state.cameras
      .filter((camera) => camera.frame && (chosen === null || camera.device.key === chosen))
      .sort(byPlace);
    find("no-cameras").hidden = cameras.length > 0;
    this.#cards.show(cameras.map((camera) => [camera.key, camera]));
    for (const camera of this.onScreen) if (!cameras.includes(camera)) this.onScreen.delete(camera);
  }

  #card(camera) {
    const title = make("h3", { textContent: `${camera.device.name} · ${camera.source}` });
    const figure = make(
      "figure",
      {},
      draw("svg", { role: "img", preserveAspectRatio: "xMidYMid meet" }),
      make("figcaption"),
    );
    const tools = make("p", { className: "row" });
    if (this.#config.pictures && this.#config.commands) {
      const button = make("button", {
        type: "button",
        textContent: "Picture",
        title: "Ask the device for the next frame as a picture",
      });
      button.onclick = () => this.#ask(card.camera);
      tools.append(button);
    }
    const other = make("button", { type: "button" });
    other.onclick = () => this.#chosen.set(card, !this.#drawn.get(card)?.pictured);
    tools.append(other);
    const table = make(
      "table",
      {},
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ...["object", "score", "zones", "track"].map((name) => make("th", { textContent: name, scope: "col" })),
        ),
      ),
      make("tbody"),
    );
    const card = make(
      "li",
      { className: "camera" },
      title,
      figure,
      tools,
      make("details", {}, make("summary"), make("div", { className: "scroll" }, table)),
    );
    card.camera = camera;
    this.#seen.observe(card);
    return card;
  }

  #update(card, camera) {
    const [, figure, tools, details] = card.children,
      [image, caption] = figure.children;
    if (card.camera !== camera) {
      // another one under the same name, after the one before had made room
      if (this.onScreen.delete(card.camera)) this.onScreen.add(camera);
      card.camera = camera;
    }
    const pictured = camera.picture !== null && (this.#chosen.get(card) ?? this.#isFresh(camera));
    const other = tools.lastElementChild;
    other.hidden = camera.picture === null;
    say(other, pictured ? "Latest outlines" : "Last picture");
    const frame = pictured ? camera.pictured : camera.frame;
    const taken = `captured ${clock(frame.capturedAt)}, ${duration(this.now - frame.time)} ago`;
    say(
      caption,
      [
        frame.name,
        taken,
        counted(frame.objects.length, "object"),
        ...remarks(camera, frame, pictured, this.#config),
      ].join(" · "),
    );
    if (!this.onScreen.has(camera)) return;
    const before = this.#drawn.get(card);
    if (before?.version === camera.version && before.pictured === pictured) return;
    this.#drawn.set(card, { version: camera.version, pictured });
    image.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
    image.setAttribute("aria-label", `${frame.name}: ${tally(frame.objects)}`);
    image.replaceChildren(...picture(frame, pictured ? camera.picture.url : null, this.#palette));
    say(details.firstElementChild, tally(frame.objects));
    if (details.open) this.#fill(details, frame);
    details.ontoggle = () => {
      if (details.open) this.#fill(details, frame);
    };
  }

  // A picture gives way to newer outlines, but not at once.
  #isFresh({ picture, pictured, frame }) {
    return pictured === frame || this.now - picture.at < FRESH;
  }

  #fill(details, frame) {
    details
      .querySelector("tbody")
      .replaceChildren(
        ...frame.objects
          .slice(0, LIMITS.rows)
          .map((one) =>
            make(
              "tr",
              {},
              ...[one.label, one.score.toFixed(2), one.zones.join(", "), one.track?.slice(-6) ?? ""].map((text) =>
                make("td", { textContent: text }),
              ),
            ),
          ),
      );
  }
}

function remarks(camera, frame, pictured, config) {
  return [
    pictured && camera.frame !== frame && "newer frames have no picture",
    !pictured && !config.pictures && "outlines only, pictures stay on the device",
    frame.by === "cloud" && "found in the cloud",
    frame.omitted > 0 && `${counted(frame.omitted, "object")} not drawn`,
    frame.unsupported.length > 0 && `the model cannot look for ${frame.unsupported.join(", ")}`,
  ].filter(Boolean);
}

// The frame: its picture, or a blank of its size, and the outlines, the largest at the back.
function picture(frame, url, palette) {
  const { width, height } = frame;
  const ground =
    url === null
      ? draw("rect", { class: "blank", width, height })
      : draw("image", { href: url, width, height, preserveAspectRatio: "none" });
  const area = ({ bounds }) => (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]);
  const order = frame.objects.map((one, index) => [one, index]).sort((one, other) => area(other[0]) - area(one[0]));
  const named = new Set([...frame.objects].sort((one, other) => other.score - one.score).slice(0, LIMITS.named));
  return [
    ground,
    ...order.map(([one, index]) => outline(one, index, palette.colorOf(one.label))),
    ...order.filter(([one]) => named.has(one)).map(([one]) => name(one, frame)),
  ];
}

function outline(one, index, color) {
  const d = pathOf(one.shape);
  return draw(
    "g",
    { "data-object": index, class: one.coarse ? "coarse" : "" },
    draw("path", { d, class: "seam" }),
    draw("path", { d, class: "outline", stroke: color, fill: color }),
  );
}

// What an object is, at the upper left of its outline, inside of the frame.
function name(one, { width, height }) {
  const size = Math.max(width / 44, height / 44);
  const words = [`${one.label} ${one.score.toFixed(2)}`, one.track && `#${one.track.slice(-4)}`, ...one.zones]
    .filter(Boolean)
    .join(" · ");
  const x = Math.max(0, Math.min(one.bounds[0], width - words.length * size * LETTER));
  const y = Math.max(size, Math.min(one.bounds[1] - size / 4, height - size / 4));
  return draw("text", { x, y, "font-size": size, "stroke-width": size / 4 }, words);
}
