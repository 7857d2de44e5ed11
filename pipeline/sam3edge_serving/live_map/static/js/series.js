// How many objects of each label there were in a frame, over time: means of bins of a second, in a ring.
import { LIMITS } from "./limits.js";

export const OTHERS = "others";

export class Series {
  #bins;
  #slots; // of labels, the last is for all others
  #sums;
  #frames;
  #labels = new Map();
  #newest = -1; // bin since 1970

  constructor(bins = LIMITS.bins, labels = LIMITS.labels) {
    this.#bins = bins;
    this.#slots = labels + 1;
    this.#sums = new Float32Array(bins * this.#slots);
    this.#frames = new Uint16Array(bins);
  }

  // A frame: counts is a Map of numbers by label, time in milliseconds since 1970.
  add(time, counts) {
    const bin = Math.floor(time / 1000);
    if (bin <= this.#newest - this.#bins) return; // older than the ring
    this.#forget(bin);
    const at = bin % this.#bins;
    if (this.#frames[at] === 0xffff) return;
    this.#frames[at] += 1;
    for (const [label, count] of counts) this.#sums[at * this.#slots + this.#slotOf(label)] += count;
  }

  get labels() {
    return [...this.#labels.keys()];
  }

  // Times in seconds since 1970, and the mean counts by label; a second without a frame is not there.
  table(seconds = this.#bins) {
    const times = [],
      values = Array.from({ length: this.#slots }, () => []);
    const span = Math.min(seconds, this.#bins);
    for (let bin = Math.max(0, this.#newest - span + 1); bin <= this.#newest; bin++) {
      const at = bin % this.#bins,
        frames = this.#frames[at];
      if (!frames) continue;
      times.push(bin);
      for (let slot = 0; slot < this.#slots; slot++) values[slot].push(this.#sums[at * this.#slots + slot] / frames);
    }
    const named = [...this.#labels].map(([label, slot]) => ({ label, values: values[slot] }));
    const others = values[this.#slots - 1];
    return { times, series: others.some(Boolean) ? [...named, { label: OTHERS, values: others }] : named };
  }

  #slotOf(label) {
    const slot = this.#labels.get(label);
    if (slot !== undefined) return slot;
    if (this.#labels.size === this.#slots - 1) return this.#slots - 1;
    this.#labels.set(label, this.#labels.size);
    return this.#labels.size - 1;
  }

  // Bins between the newest and this one had no frames; what they held an hour ago goes.
  #forget(bin) {
    if (bin <= this.#newest) return;
    for (let empty = Math.max(this.#newest + 1, bin - this.#bins + 1); empty <= bin; empty++) {
      const at = empty % this.#bins;
      this.#frames[at] = 0;
      this.#sums.fill(0, at * this.#slots, (at + 1) * this.#slots);
    }
    this.#newest = bin;
  }
}
