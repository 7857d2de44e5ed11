// A colour for each label, the same in all views; neighbours lie far apart.
import { LIMITS } from "./limits.js";

const FIRST = 150,
  GOLDEN = 137.508; // degrees of hue: of the first label, and between two of them

export class Palette {
  #numbers = new Map(); // by label, in the order in which they were asked for

  // For outlines on images, which have a dark seam.
  colorOf(label) {
    return `hsl(${this.#hue(label)} 90% 62%)`;
  }

  // For lines on the page's own background.
  inkOf(label, dark) {
    return `hsl(${this.#hue(label)} ${dark ? "85% 68%" : "80% 36%"})`;
  }

  #hue(label) {
    let number = this.#numbers.get(label);
    if (number === undefined) {
      if (this.#numbers.size === LIMITS.colors) this.#numbers.delete(this.#numbers.keys().next().value);
      number = this.#next++;
      this.#numbers.set(label, number);
    }
    return Math.round(FIRST + number * GOLDEN) % 360;
  }

  #next = 0;
}
