// Outlines: read, measured and drawn.
import { NotOurs, list, object } from "./reading.js";

const MAX_PIXEL = 1e6;
const CORNERS = 3; // of a ring, at least

// Polygons of a GeoJSON geometry: [polygon][ring] of flat arrays x, y, x, y. Points count against the budget of the
// frame, an object { vertices }; a geometry that does not fit is refused.
function polygons(geometry, budget, inside) {
  const { type, coordinates } = object(geometry, "a geometry");
  if (type !== "Polygon" && type !== "MultiPolygon") throw new NotOurs("expected a Polygon or a MultiPolygon");
  const wanted = type === "Polygon" ? [coordinates] : list(coordinates, "polygons");
  if (!wanted.length) throw new NotOurs("expected a polygon");
  return wanted.map((polygon) => {
    const rings = list(polygon, "rings").map((ring) => {
      if (list(ring, "a ring").length < CORNERS) throw new NotOurs(`expected a ring of at least ${CORNERS} points`);
      const flat = new Float64Array(2 * ring.length);
      budget.vertices -= ring.length;
      if (budget.vertices < 0) throw new NotOurs("expected fewer vertices");
      ring.forEach((point, index) => {
        const [x, y] = list(point, "a point");
        if (!inside(x, y)) throw new NotOurs("expected points inside of the frame or on Earth");
        flat[2 * index] = x;
        flat[2 * index + 1] = y;
      });
      return flat;
    });
    if (!rings.length) throw new NotOurs("expected a ring");
    return rings;
  });
}

const within = (value, most) => typeof value === "number" && Math.abs(value) <= most;

// In pixels of the frame: a mask may stand out of it by rounding, so the bound is only against nonsense.
export const pixelPolygons = (geometry, budget) =>
  polygons(geometry, budget, (x, y) => within(x, MAX_PIXEL) && within(y, MAX_PIXEL));

// In degrees of WGS 84.
export const worldPolygons = (geometry, budget) =>
  polygons(geometry, budget, (x, y) => within(x, 180) && within(y, 90));

export const verticesOf = (shape) =>
  shape.reduce((sum, polygon) => polygon.reduce((all, ring) => all + ring.length / 2, sum), 0);

// [x0, y0, x1, y1] of polygons, one or more.
export function boundsOf(shape) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const polygon of shape) {
    const [shell] = polygon;
    for (let at = 0; at < shell.length; at += 2) {
      box[0] = Math.min(box[0], shell[at]);
      box[1] = Math.min(box[1], shell[at + 1]);
      box[2] = Math.max(box[2], shell[at]);
      box[3] = Math.max(box[3], shell[at + 1]);
    }
  }
  return box;
}

// [x, y] of the middle of a box.
export const middleOf = ([left, bottom, right, top]) => [(left + right) / 2, (bottom + top) / 2];

// How far up the polygons reach between left and right: the smallest y there, Infinity where none of them is.
export function topWithin(shape, left, right) {
  let top = Infinity;
  for (const [shell] of shape) {
    for (let at = 0; at < shell.length; at += 2) {
      const next = (at + 2) % shell.length; // a ring may be closed or not
      const [x, y, otherX, otherY] = [shell[at], shell[at + 1], shell[next], shell[next + 1]];
      if (Math.max(x, otherX) < left || Math.min(x, otherX) > right) continue;
      for (const edge of [left, right]) {
        const share = (Math.min(Math.max(edge, Math.min(x, otherX)), Math.max(x, otherX)) - x) / (otherX - x || 1);
        top = Math.min(top, y + share * (otherY - y));
      }
      if (x >= left && x <= right) top = Math.min(top, y);
    }
  }
  return top;
}

// The smallest box around boxes; null for none.
export function unionOf(boxes) {
  return boxes.reduce(
    (all, box) =>
      all === null
        ? box
        : [Math.min(all[0], box[0]), Math.min(all[1], box[1]), Math.max(all[2], box[2]), Math.max(all[3], box[3])],
    null,
  );
}

// The d of an SVG path; with fill-rule evenodd, holes are holes. move turns a point into where it is drawn.
export function pathOf(shape, move = (x, y) => [x, y]) {
  const written = [];
  for (const polygon of shape) {
    for (const ring of polygon) {
      for (let at = 0; at < ring.length; at += 2) {
        const [x, y] = move(ring[at], ring[at + 1]);
        written.push(at ? "L" : "M", String(Math.round(x * 100) / 100), " ", String(Math.round(y * 100) / 100));
      }
      written.push("Z");
    }
  }
  return written.join("");
}

// As GeoJSON has it.
export function multiPolygon(shape) {
  const points = (ring) => Array.from({ length: ring.length / 2 }, (_, at) => [ring[2 * at], ring[2 * at + 1]]);
  return { type: "MultiPolygon", coordinates: shape.map((polygon) => polygon.map(points)) };
}
