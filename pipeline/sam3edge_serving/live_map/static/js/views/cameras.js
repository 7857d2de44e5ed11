// The last frame of each camera with its outlines.
import { Elements, draw, find, make, say } from "../dom.js";
import { pathOf } from "../geometry.js";
import { LIMITS } from "../limits.js";
import { namesOf } from "../names.js";
import { byPlace } from "../order.js";
import { counted, duration, tally, when } from "../words.js";

const FRESH = 30_000; // milliseconds for which a picture is shown before newer outlines without one

export class CamerasView {
  #state;
  #config;
  #selection;
  #palette;
  #ask;
  #cards;
  #drawn = new WeakMap(); // what a card shows: { version, pictured, painted }; painted: for which size
  #chosen = new WeakMap(); // whether somebody wants to see a card's picture, though there are newer frames
  #sizes = new WeakMap(); // of drawings: { width, height } in CSS pixels
  #seen; // cards that are on the screen
  #sized; // drawings, whose names are of the same size however wide they are
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
    this.#sized = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) this.#sizes.set(target, contentRect);
    });
  }

  // What a card shows is of its frame's shape and has its words before it is on the screen: with links of the page,
  // what lies below is found where it is.
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
    this.#sized.observe(figure.firstElementChild);
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
    const taken = `captured ${when(frame.capturedAt, this.now)}, ${duration(this.now - frame.capturedAt)} ago`;
    say(
      caption,
      [
        frame.name,
        taken,
        counted(frame.objects.length, "object"),
        ...remarks(camera, frame, pictured, this.#config),
      ].join(" · "),
    );
    const before = this.#drawn.get(card);
    const known = before?.version === camera.version && before.pictured === pictured;
    if (!known) {
      image.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
      say(details.firstElementChild, tally(frame.objects));
    }
    const size = this.#sizes.get(image);
    const painted = known && before.painted === size;
    if (painted || !this.onScreen.has(camera)) {
      if (!known) this.#drawn.set(card, { version: camera.version, pictured, painted: null });
      return;
    }
    this.#drawn.set(card, { version: camera.version, pictured, painted: size });
    image.setAttribute("aria-label", `${frame.name}: ${tally(frame.objects)}`);
    image.replaceChildren(...this.#picture(camera, frame, pictured ? camera.picture : null, size));
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

  // The frame: its picture, or a blank of its size, and the outlines, the largest at the back.
  #picture(camera, frame, shown, size) {
    const { width, height } = frame;
    const ground =
      shown === null
        ? draw("rect", { class: "blank", width, height })
        : draw("image", { href: shown.url, width, height, preserveAspectRatio: "none" });
    ground.addEventListener("error", () => this.#state.spoil(camera, shown));
    const area = ({ bounds }) => (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]);
    const order = frame.objects.map((one, index) => [one, index]).sort((one, other) => area(other[0]) - area(one[0]));
    return [
      ground,
      ...order.map(([one, index]) => outline(one, index, this.#palette.colorOf(one.label))),
      ...namesOf(frame, size).map(({ words, x, y, size: letter }) =>
        draw("text", { x, y, "font-size": letter, "stroke-width": letter / 4 }, words),
      ),
    ];
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

function outline(one, index, color) {
  const d = pathOf(one.shape);
  return draw(
    "g",
    { "data-object": index, class: one.coarse ? "coarse" : "" },
    draw("path", { d, class: "seam" }),
    draw("path", { d, class: "outline", stroke: color, fill: color }),
  );
}
