// Objects on Earth: by MapLibre where there is WebGL, else by a plain drawing.
import { find, make, say } from "../dom.js";
import { unionOf } from "../geometry.js";
import { counted } from "../words.js";
import { PlainMap } from "./plainmap.js";

const PAUSE = 500; // milliseconds between two drawings

export class MapView {
  #state;
  #config;
  #selection;
  #palette;
  #map = null;
  #making = false;
  #shown = ""; // what was drawn
  #bounds = null; // of that, or of the objects of the device that was chosen
  #whole = true; // whether all of it is to be seen, though a device was chosen
  #objects = []; // likewise
  #drawnAt = 0;
  #dark = matchMedia("(prefers-color-scheme: dark)");
  problem = ""; // why it is not the map that it should be

  constructor(state, config, selection, palette) {
    this.#state = state;
    this.#selection = selection;
    this.#palette = palette;
    this.#config = config;
    find("map-fit").onclick = () => this.#look(true);
    selection.on(() => this.#look(false));
    this.#dark.addEventListener("change", () => {
      this.#map?.remove();
      this.#map = null;
      this.#making = false;
      this.#shown = "";
    });
  }

  render(now) {
    const wanted = document.querySelector("input[name=trail]:checked").value;
    const placed = this.#frames(wanted);
    const empty = placed.length === 0 && !this.#map && !this.#config.mapStyle && !this.#config.mapTiles;
    find("no-map").hidden = !empty;
    find("map-box").hidden = empty;
    if (empty || now - this.#drawnAt < PAUSE) return;
    if (!this.#making) this.#make();
    if (!this.#map) return;
    const shown = JSON.stringify([wanted, placed.map(({ camera, frame }) => [camera.key, frame.id, frame.time])]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#drawnAt = now;
    const objects = placed.flatMap(({ camera, frame }) =>
      frame.objects
        .filter((one) => one.place !== null)
        .map((one) => described(camera, frame, one, this.#palette.inkOf(one.label, this.#dark.matches))),
    );
    this.#objects = objects;
    this.#bound();
    this.#map.show(objects, this.#bounds);
    say(find("map-count"), `${counted(objects.length, "object")} of ${counted(placed.length, "frame")}`);
  }

  // Look at all objects, or at those of the device that was chosen.
  #look(whole) {
    this.#whole = whole;
    this.#bound();
    this.#map?.fit(this.#bounds);
  }

  // Of a device that has no object on the map, all are looked at.
  #bound() {
    const chosen = this.#whole ? [] : this.#objects.filter((one) => one.device === this.#selection.key);
    this.#bounds = unionOf((chosen.length ? chosen : this.#objects).map((one) => one.bounds));
  }

  // Frames with places: { camera, frame }.
  #frames(wanted) {
    if (wanted === "all") return this.#state.trail;
    return this.#state.cameras
      .filter(({ frame }) => frame?.objects.some((one) => one.place !== null))
      .map((camera) => ({ camera, frame: camera.frame }));
  }

  // MapLibre is a megabyte: it is loaded where there is something for it to draw.
  async #make() {
    this.#making = true;
    const says = {
      choose: (text) => say(find("map-object"), text),
      note: (text) => this.#note(text),
      credit: (text) => say(find("map-credit"), text),
    };
    const box = find("map");
    box.replaceChildren();
    if (make("canvas").getContext("webgl2") === null) {
      this.#note(
        "This browser has no WebGL, or has it switched off: this is a plain drawing in longitude and latitude" +
          (this.#config.mapStyle || this.#config.mapTiles ? ", without the background map." : "."),
      );
      this.#map = new PlainMap(box, says.choose);
      return;
    }
    try {
      const { globeMap } = await import("./globe.js");
      this.#map = await globeMap(box, this.#config, this.#dark.matches, says);
    } catch (error) {
      this.#note(`The map cannot be drawn by WebGL (${error.message}): this is a plain drawing.`);
      box.replaceChildren();
      this.#map = new PlainMap(box, says.choose);
    }
  }

  #note(text) {
    this.problem = text;
    find("map-note").hidden = !text;
    say(find("map-note"), text);
  }
}

// What a map draws of an object, and says of it.
function described(camera, frame, one, color) {
  const { place } = one;
  const words = [
    `${one.label} ${one.score.toFixed(2)}`,
    one.track && `track ${one.track.slice(-4)}`,
    one.zones.join(", "),
    place.squareMetres !== null && `${place.squareMetres.toPrecision(3)} m²`,
    place.accuracy !== null && `right to ${place.accuracy.toPrecision(2)} m`,
    `${camera.device.name}, ${frame.name}`,
  ];
  return {
    shape: place.shape,
    bounds: place.bounds,
    device: camera.device.key,
    label: one.label,
    color,
    words: words.filter(Boolean).join(" · "),
  };
}
