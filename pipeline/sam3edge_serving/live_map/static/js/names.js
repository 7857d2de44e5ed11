// What objects of a frame are, in words beside their outlines: large enough to be read, and never over one another.
import { topWithin } from "./geometry.js";
import { LIMITS } from "./limits.js";

const LETTER = 0.6; // width of a letter over its height, about
const LINE = 1.2; // height of a line over that of its letters, likewise
const LEAST = 11; // CSS pixels of a letter's height
const SHARE = 44; // of the longer side of a frame, which a letter is high where that is more

// { words, x, y, size } of names, in pixels of the frame; x and y of where the text's base line begins: from the left of
// the outline, on the part of it that is below the words, and inside of the frame. shown: { width, height } of the
// drawing in CSS pixels, if it is known.
export function namesOf({ width, height, objects }, shown) {
  const scale = shown?.width && shown.height ? Math.max(width / shown.width, height / shown.height) : 0;
  const size = Math.max(width / SHARE, height / SHARE, LEAST * scale);
  const placed = [];
  for (const one of [...objects].sort((one, other) => other.score - one.score)) {
    if (placed.length === LIMITS.named) break;
    const words = [`${one.label} ${one.score.toFixed(2)}`, one.track && `#${one.track.slice(-4)}`, ...one.zones]
      .filter(Boolean)
      .join(" · ");
    const long = words.length * size * LETTER;
    const x = Math.max(0, Math.min(one.bounds[0], width - long));
    const y = Math.max(size, Math.min(topWithin(one.shape, x, x + long) - size / 4, height - size / 4));
    const free = placed.every((at) => x >= at.x + at.long || at.x >= x + long || Math.abs(y - at.y) >= size * LINE);
    if (free) placed.push({ words, x, y, size, long });
  }
  return placed;
}
