// The map by MapLibre GL: a plain background, or the operator's own, and the outlines on it. No tile server is needed.
import { Map as Base, NavigationControl, ScaleControl, addProtocol } from "../../vendor/maplibre-gl/maplibre-gl.mjs";
import { make } from "../dom.js";
import { middleOf, multiPolygon } from "../geometry.js";

const ARCHIVE = "operator"; // name of the map's archive, as its source names it
const CLOSEST = 20; // zoom
const WORLD = 512; // CSS pixels of the whole Earth at zoom 0
const LEAST = 5; // CSS pixels, below which an object has a spot, too
const SPOT = ["==", ["geometry-type"], "Point"];
const GROUND = { light: "#eef0ee", dark: "#191c20" };
const LAND = { light: "#c8cfc8", dark: "#3a4148" };

// The map in an element; see GlobeMap for the rest.
export async function globeMap(box, config, dark, says) {
  if (config.mapTiles) archives ??= await protocol();
  return new GlobeMap(box, config, dark, says);
}

let archives = null; // what reads them, once there is one

class GlobeMap {
  #map;
  #ready = false;
  #objects = [];
  #bounds = null;
  #moved = false; // whether a person has moved it

  // choose(text): of the object that was clicked; note(text): what is wrong with the map; credit(text): whose it is.
  constructor(box, config, dark, { choose, note, credit }) {
    const scheme = dark ? "dark" : "light";
    this.#map = new Base({
      container: box,
      style: config.mapStyle ?? plain(scheme),
      attributionControl: false,
      center: [0, 0],
      zoom: 1,
      maxPitch: 0,
      dragRotate: false,
      renderWorldCopies: false,
      fadeDuration: 0,
      cooperativeGestures: true,
    });
    this.#map.addControl(new NavigationControl({ showCompass: false }));
    this.#map.addControl(new ScaleControl());
    this.#map.on("sourcedata", () => credit(attributions(this.#map)));
    this.#map.on("movestart", (event) => {
      if (event.originalEvent) this.#moved = true;
    });
    this.#map.on("error", ({ error }) => note(`The background map cannot be loaded: ${error.message}`));
    this.#map.on("webglcontextlost", () => note("The graphics processor was lost; the map comes back with it."));
    this.#map.on("webglcontextrestored", () => note(""));
    this.#map.on("click", ["objects", "spots"], ({ features }) => choose(features[0].properties.words));
    this.#map.on("load", async () => {
      if (config.mapTiles && !config.mapStyle) {
        await archive(this.#map, config.mapTiles, scheme).catch((error) =>
          note(`The map's archive cannot be read: ${error.message}`),
        );
      }
      outlines(this.#map, dark);
      this.#ready = true;
      this.#put();
      this.fit(this.#bounds);
    });
  }

  show(objects, bounds) {
    const first = this.#bounds === null;
    this.#objects = objects;
    this.#bounds = bounds;
    this.#put();
    if (bounds && (first || (!this.#moved && !holds(this.#map.getBounds(), bounds)))) this.fit(bounds);
  }

  fit(bounds) {
    if (!bounds || !this.#ready) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#map.fitBounds([bounds.slice(0, 2), bounds.slice(2)], {
      padding: 40,
      maxZoom: CLOSEST,
      animate: !still,
      duration: 300,
    });
    this.#moved = false;
  }

  remove() {
    this.#map.remove();
  }

  #put() {
    if (!this.#ready) return;
    this.#map.getSource("objects").setData({
      type: "FeatureCollection",
      features: this.#objects.flatMap(({ shape, bounds, label, color, words }) => [
        { type: "Feature", geometry: multiPolygon(shape), properties: { label, color, words } },
        {
          type: "Feature",
          geometry: { type: "Point", coordinates: middleOf(bounds) },
          properties: { label, color, words, until: largeAt(bounds) },
        },
      ]),
    });
  }
}

const plain = (scheme) => ({
  version: 8,
  sources: {},
  layers: [{ id: "ground", type: "background", paint: { "background-color": GROUND[scheme] } }],
});

const holds = (box, [west, south, east, north]) =>
  box.getWest() <= west && box.getEast() >= east && box.getSouth() <= south && box.getNorth() >= north;

// The zoom from which on an outline is large enough to be seen: at least so many pixels wide or high.
function largeAt([west, south, east, north]) {
  const share = Math.max(east - west, north - south) / 360;
  return Math.min(CLOSEST + 4, Math.log2(LEAST / WORLD / share));
}

function outlines(map, dark) {
  map.addSource("objects", { type: "geojson", data: { type: "FeatureCollection", features: [] } });
  map.addLayer({
    id: "objects",
    type: "fill",
    source: "objects",
    paint: { "fill-color": ["get", "color"], "fill-opacity": 0.3 },
  });
  map.addLayer({
    id: "edges",
    type: "line",
    source: "objects",
    paint: { "line-color": ["get", "color"], "line-width": 2 },
  });
  map.addLayer({
    id: "spots",
    type: "circle",
    source: "objects",
    filter: ["all", SPOT, ["<", ["zoom"], ["get", "until"]]],
    paint: {
      "circle-color": ["get", "color"],
      "circle-radius": 5,
      "circle-stroke-color": dark ? "#000" : "#fff",
      "circle-stroke-width": 1.5,
    },
  });
  map.addLayer({
    id: "names",
    type: "symbol",
    source: "objects",
    filter: SPOT,
    layout: {
      "text-field": ["get", "label"],
      "text-size": 11,
      "text-variable-anchor": ["top", "bottom", "left", "right"],
      "text-radial-offset": 0.7,
    },
    paint: { "text-color": dark ? "#fff" : "#111", "text-halo-color": dark ? "#000" : "#fff", "text-halo-width": 1.5 },
  });
}

// The operator's archive of tiles: pictures as they are, or the lines and areas of all its layers in one colour.
async function archive(map, path, scheme) {
  const tiles = new archives.PMTiles(path);
  archives.protocol.add(tiles);
  const [header, metadata] = [await tiles.getHeader(), await tiles.getMetadata()];
  const vector = header.tileType === 1;
  map.addSource(ARCHIVE, {
    type: vector ? "vector" : "raster",
    url: `pmtiles://${path}`,
    tileSize: 256,
    attribution: metadata.attribution ?? "",
  });
  if (!vector) return map.addLayer({ id: ARCHIVE, type: "raster", source: ARCHIVE });
  for (const { id } of metadata.vector_layers) {
    const common = { source: ARCHIVE, "source-layer": id };
    map.addLayer({
      id: `${id} areas`,
      type: "fill",
      ...common,
      filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-color": LAND[scheme], "fill-opacity": 0.4 },
    });
    map.addLayer({
      id: `${id} lines`,
      type: "line",
      ...common,
      filter: ["==", ["geometry-type"], "LineString"],
      paint: { "line-color": LAND[scheme] },
    });
  }
  return undefined;
}

// What the map's sources want to be said of them, as text: MapLibre's own control makes markup of it.
function attributions(map) {
  const said = Object.keys(map.getStyle()?.sources ?? {})
    .map((id) => map.getSource(id)?.attribution)
    .filter((one) => typeof one === "string")
    .map((one) => one.replace(/<[^>]*>/g, "").trim());
  return [...new Set(said)].filter(Boolean).join(" | ").slice(0, 500);
}

// Addresses that begin with pmtiles:// lead into archives. The library is a plain script, loaded only where one is.
async function protocol() {
  const { PMTiles, Protocol } = await new Promise((resolve, reject) => {
    document.head.append(
      make("script", {
        src: "vendor/pmtiles/pmtiles.js",
        onload: () => resolve(globalThis.pmtiles),
        onerror: () => reject(new Error("the library of archives cannot be loaded")),
      }),
    );
  });
  const reader = new Protocol();
  addProtocol("pmtiles", reader.tile);
  return { PMTiles, protocol: reader };
}
