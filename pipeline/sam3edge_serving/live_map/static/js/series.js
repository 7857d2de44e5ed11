// How many objects of each label there were in a frame, over time: means of bins of a second, in a ring.
import { LIMITS } from "./limits.js";

export const OTHERS = "others";

const PAUSE = 10, // seconds without a frame, after which a line is interrupted: at least, and
  USUAL = 3; // times as long as it usually is between two frames
const UNSEEN = 60; // seconds after which a label gives its place to one that has none

export class Series {
  #bins;
  #room;
  #shown;
  #frames;
  #sums = new Map(); // by label, the one that was first at the front: { sums, last }, last: the bin that it was in last
  #others;
  #newest = -1; // bin since 1970

  // bins: of the ring; room: labels that are counted by themselves; shown: how many of them a table has.
  constructor(bins = LIMITS.bins, room = LIMITS.countedLabels, shown = LIMITS.labels) {
    this.#bins = bins;
    this.#room = room;
    this.#shown = shown;
    this.#frames = new Uint16Array(bins);
    this.#others = new Float32Array(bins);
  }

  // A frame: counts is a Map of numbers by label, time in milliseconds since 1970.
  add(time, counts) {
    const bin = Math.floor(time / 1000);
    if (bin <= this.#newest - this.#bins) return; // older than the ring
    this.#forget(bin);
    const at = bin % this.#bins;
    if (this.#frames[at] === 0xffff) return;
    this.#frames[at] += 1;
    for (const [label, count] of counts) this.#sumsOf(label, bin)[at] += count;
  }

  // The last seconds until a time: times in seconds since 1970, and the mean counts of those labels of which there were
  // most in them; what else there was is others. A second without a frame is not there, and a pause is null.
  table(seconds = this.#bins, until = this.#newest) {
    const bins = [];
    for (let bin = Math.max(0, until - Math.min(seconds, this.#bins) + 1); bin <= Math.min(until, this.#newest); bin++)
      if (bin > this.#newest - this.#bins && this.#frames[bin % this.#bins]) bins.push(bin);
    const line = (label, sums) => {
      const values = bins.map((bin) => sums[bin % this.#bins] / this.#frames[bin % this.#bins]);
      return { label, values, total: values.reduce((sum, one) => sum + one, 0) };
    };
    const there = [...this.#sums].map(([label, { sums }]) => line(label, sums)).filter(({ total }) => total > 0);
    const others = line(OTHERS, this.#others);
    const rest = [...there].sort((one, other) => other.total - one.total).slice(this.#shown);
    for (const { values } of rest) values.forEach((one, at) => (others.values[at] += one));
    const shown = there.filter((one) => !rest.includes(one));
    return interrupted(bins, others.total > 0 || rest.length ? [...shown, others] : shown);
  }

  // Where a label is counted: in its own place, or with the others. A label without a place gets that of the one which
  // was not seen for longest.
  #sumsOf(label, bin) {
    const known = this.#sums.get(label);
    if (known) {
      known.last = Math.max(known.last, bin);
      return known.sums;
    }
    if (this.#sums.size === this.#room) {
      const [oldest, { sums, last }] = [...this.#sums].sort(([, one], [, other]) => one.last - other.last)[0];
      if (bin - last < UNSEEN) return this.#others;
      sums.forEach((sum, at) => (this.#others[at] += sum));
      this.#sums.delete(oldest);
    }
    const sums = new Float32Array(this.#bins);
    this.#sums.set(label, { sums, last: bin });
    return sums;
  }

  // Bins between the newest and this one had no frames; what they held an hour ago goes.
  #forget(bin) {
    if (bin <= this.#newest) return;
    for (let empty = Math.max(this.#newest + 1, bin - this.#bins + 1); empty <= bin; empty++) {
      const at = empty % this.#bins;
      this.#frames[at] = this.#others[at] = 0;
      for (const { sums } of this.#sums.values()) sums[at] = 0;
    }
    this.#newest = bin;
    for (const [label, { last }] of this.#sums) if (last <= bin - this.#bins) this.#sums.delete(label);
  }
}

// With a second of nulls in each pause, after which nobody knows what there was.
function interrupted(bins, series) {
  const steps = bins.slice(1).map((bin, at) => bin - bins[at]);
  const usual = [...steps].sort((one, other) => one - other)[Math.floor(steps.length / 2)] ?? 0;
  const longest = Math.max(PAUSE, USUAL * usual);
  const pauses = (values, filler) =>
    values.flatMap((value, at) => (steps[at] > longest ? [value, filler(at)] : [value]));
  return {
    times: pauses(bins, (at) => bins[at] + 1),
    series: series.map(({ label, values }) => ({ label, values: pauses(values, () => null) })),
  };
}
