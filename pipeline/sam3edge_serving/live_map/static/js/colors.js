// A colour for each label, the same in all views; neighbours lie far apart.
import { LIMITS } from "./limits.js";
import { OTHERS } from "./series.js";

// Degrees of hue, which are told apart on images and on both grounds; further labels have them lighter, then darker.
const HUES = [160, 300, 60, 230, 30, 200, 340, 120];
const LIGHTNESS = { image: [62, 84, 36], light: [36, 18, 56], dark: [68, 86, 44] }; // percent
const GREY = { light: "hsl(0 0% 52%)", dark: "hsl(0 0% 60%)" }; // of the others

export class Palette {
  #numbers = new Map(); // by label, in the order in which they were asked for

  // For outlines on images, which have a dark seam.
  colorOf(label) {
    return this.#color(label, 90, LIGHTNESS.image);
  }

  // For lines on the page's own background.
  inkOf(label, dark) {
    const ground = dark ? "dark" : "light";
    return label === OTHERS ? GREY[ground] : this.#color(label, dark ? 85 : 80, LIGHTNESS[ground]);
  }

  #color(label, saturation, lightness) {
    const number = this.#numberOf(label);
    const round = Math.floor(number / HUES.length) % lightness.length;
    return `hsl(${HUES[number % HUES.length]} ${saturation}% ${lightness[round]}%)`;
  }

  #numberOf(label) {
    let number = this.#numbers.get(label);
    if (number === undefined) {
      if (this.#numbers.size === LIMITS.colors) this.#numbers.delete(this.#numbers.keys().next().value);
      number = this.#next++;
      this.#numbers.set(label, number);
    }
    return number;
  }

  #next = 0;
}
