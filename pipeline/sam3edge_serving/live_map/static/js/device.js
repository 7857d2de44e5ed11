// A device and its cameras, and whether it is there.
import { Lateness } from "./lateness.js";
import { marked } from "./reading.js";
import { Series } from "./series.js";
import { when } from "./words.js";

const DEFAULT_INTERVAL = 30; // seconds between heartbeats that do not say it
const MISSED = 3; // heartbeats, after which a device is offline

// Milliseconds. What is older than the one before is late, of a device that was offline, if it comes within so long;
// later than that, the device's clock was set back (as in sam3edge/subscriber/sinks/last_frames.py).
export const SETTLED = 60_000;

export class Camera {
  constructor(device, source) {
    this.device = device;
    this.source = source;
    this.key = JSON.stringify([device.key, source]);
    this.series = new Series();
    this.recent = []; // frames, the newest first
    this.heard = 0; // when that one came
    this.pictured = null; // the last frame that there is a picture of
    this.picture = null; // { url, bytes, at }
    this.counts = null; // objects, zones and lines, of a device that tracks
    this.version = 0; // another when there is something else to draw
  }

  get frame() {
    return this.recent[0] ?? null;
  }

  get vertices() {
    return [...new Set([...this.recent, this.pictured])].reduce((sum, frame) => sum + (frame?.vertices ?? 0), 0);
  }
}

export class Device {
  constructor(prefix, id) {
    this.prefix = prefix;
    this.id = id; // what it calls itself
    this.heard = null; // when a message of its own came, now and not retained
    this.status = null;
    this.statusAt = null;
    this.unheardFor = 0; // milliseconds since then in which there was no connection to hear it by
    this.clockOffset = 0; // milliseconds by which its clock is ahead of this browser's
    this.lateness = new Lateness(); // of its messages
    this.available = null; // what its availability topic says; null where there is none
    this.availableAt = null;
    this.uploader = null;
    this.model = null;
    this.cameras = new Map();
    this.waitingPicture = null; // one that came before its frame
  }

  get key() {
    return keyOf(this.prefix, this.id);
  }

  // Its name as it is shown, everywhere. Who says to be somebody else than its topics say is seen.
  get name() {
    return this.prefix.endsWith(`/${this.id}`) ? marked(this.id) : `${marked(this.id)} (${marked(this.prefix)})`;
  }

  // Whether nothing is known of it but its topics: its name is a guess.
  get unheard() {
    return [this.heard, this.status, this.model, this.uploader].every((one) => one === null) && !this.cameras.size;
  }

  // When there was a sign of it; 0 if never.
  get lastAt() {
    return Math.max(this.statusAt ?? 0, this.heard ?? 0);
  }

  // What its clock says now, as far as heartbeats tell; never later than ours, as the times of its messages.
  time(now) {
    return now + Math.min(0, this.clockOffset);
  }

  hear(now) {
    this.heard = now;
    this.unheardFor = 0;
  }

  // A heartbeat; one that is late changes nothing. at: when it was news.
  beat(status, now, at) {
    if (this.status !== null && status.time < this.status.time && now - this.statusAt <= SETTLED) return;
    if (at > this.lastAt) this.unheardFor = 0;
    this.status = status;
    this.statusAt = at;
  }
}

export const keyOf = (prefix, id) => JSON.stringify([prefix, id]);

const WORDS = new Map([
  ["running", "online"],
  ["waiting for a model", "waiting"],
  ["restarting", "restarting"],
  ["stopping", "stopped"],
]);

// What a device said last: a heartbeat before its first model is followed by frames before it is by another one.
function said({ status, cameras }) {
  const frames = [...cameras.values()].some(({ frame }) => frame !== null && frame.time > (status?.time ?? 0));
  return frames ? "online" : (WORDS.get(status?.state) ?? "online");
}

// Whether a device is there: what its last will says, else how old its heartbeat is; without a connection, since
// deafSince, nobody knows. { word, why }
export function presence(device, now, deafSince = null) {
  if (deafSince !== null) return { word: "unknown", why: `no connection to the broker since ${when(deafSince, now)}` };
  const interval = (device.status?.interval ?? DEFAULT_INTERVAL) * 1000;
  if (device.available === false && device.availableAt >= (device.heard ?? 0)) {
    return { word: "offline", why: "its last will says so" };
  }
  if (!device.lastAt) {
    return { word: "unknown", why: device.unheard ? "nothing has come from it yet" : "no heartbeat has come yet" };
  }
  const word = said(device);
  if (word === "stopped") return { word, why: "it said that it stops" };
  if (now - device.lastAt - device.unheardFor > MISSED * interval) {
    return { word: "offline", why: `expected a heartbeat every ${interval / 1000} s` };
  }
  if (word === "waiting") return { word, why: "it has no model yet" };
  const unknown = device.status !== null && !WORDS.has(device.status.state);
  return { word, why: unknown ? `it says that it is ${device.status.state}` : "" };
}
