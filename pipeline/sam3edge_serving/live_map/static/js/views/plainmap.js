// A plain drawing of places: longitude to the right, latitude up, a degree of each as long as it is in the middle.
import { draw } from "../dom.js";
import { middleOf, pathOf } from "../geometry.js";
import { counted } from "../words.js";

const MARGIN = 36; // CSS pixels
const LEAST_SEEN = 5, // CSS pixels, below which an object is drawn as a spot
  SPOT = 8; // CSS pixels across
const METRES_PER_DEGREE = 111_320; // of latitude
const LEAST = 1e-5; // degrees: about a metre, for a single small object
const STEPS = [1, 2, 5];

export class PlainMap {
  #box;
  #choose;
  #objects = [];
  #bounds = null;
  #resized = new ResizeObserver(() => this.fit(this.#bounds));

  constructor(box, choose) {
    this.#box = box;
    this.#choose = choose;
    this.#box.classList.add("plain");
    this.#resized.observe(box);
  }

  show(objects, bounds) {
    this.#objects = objects;
    this.fit(bounds);
  }

  // Draw all of it.
  fit(bounds) {
    this.#bounds = bounds;
    this.#box.replaceChildren(...(bounds ? [this.#drawing()] : []));
  }

  remove() {
    this.#resized.disconnect();
    this.#box.classList.remove("plain");
    this.#box.replaceChildren();
  }

  #drawing() {
    const { clientWidth: width, clientHeight: height } = this.#box;
    const [west, south, east, north] = this.#bounds;
    const middle = (south + north) / 2,
      squeeze = Math.max(0.01, Math.cos((middle * Math.PI) / 180));
    const scale = Math.min(
      (width - 2 * MARGIN) / Math.max(LEAST, (east - west) * squeeze),
      (height - 2 * MARGIN) / Math.max(LEAST, north - south),
    ); // CSS pixels of a degree of latitude
    const place = (lon, lat) => [
      width / 2 + (lon - (west + east) / 2) * squeeze * scale,
      height / 2 - (lat - middle) * scale,
    ];
    const outlines = this.#objects.map((one, index) => {
      const [left, bottom, right, top] = one.bounds;
      const isSpot = Math.max((right - left) * squeeze, top - bottom) * scale < LEAST_SEEN;
      const [cx, cy] = place(...middleOf(one.bounds));
      const drawn = isSpot
        ? draw("circle", { class: "spot", cx, cy, r: SPOT / 2 })
        : draw("path", { d: pathOf(one.shape, place), stroke: one.color });
      drawn.setAttribute("fill", one.color);
      drawn.setAttribute("data-object", index);
      drawn.append(draw("title", {}, one.words));
      drawn.addEventListener("click", () => this.#choose(one.words));
      return drawn;
    });
    return draw(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": `${counted(this.#objects.length, "object")} between ${corner(west, south)} and ${corner(east, north)}`,
      },
      ...outlines,
      draw("text", { x: 6, y: 14 }, corner(west, north)),
      draw("text", { x: width - 6, y: height - 6, "text-anchor": "end" }, corner(east, south)),
      ...bar(METRES_PER_DEGREE / scale, width, height),
    );
  }
}

const corner = (lon, lat) => `${degrees(lat, "N", "S")}, ${degrees(lon, "E", "W")}`;

const degrees = (value, positive, negative) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;

// A scale of a round number of metres, at most a quarter of the width.
function bar(metresPerPixel, width, height) {
  const most = (metresPerPixel * width) / 4;
  const power = 10 ** Math.floor(Math.log10(most));
  const metres = STEPS.map((step) => step * power)
    .filter((value) => value <= most)
    .pop();
  const length = metres / metresPerPixel;
  const words =
    metres >= 1000 ? `${metres / 1000} km` : metres >= 1 ? `${metres} m` : `${Math.round(metres * 1000) / 10} cm`;
  return [
    draw("path", { class: "bar", d: `M8 ${height - 14}v6h${length}v-6` }),
    draw("text", { x: 12, y: height - 14 }, words),
  ];
}
