// What is known of all devices, out of their messages. Bounded: see limits.js.
import { LIMITS } from "./limits.js";
import { read } from "./messages.js";
import { NotOurs } from "./reading.js";
import { Reassembly, Recent } from "./reassembly.js";
import { Series } from "./series.js";

const DEFAULT_INTERVAL = 30; // seconds between heartbeats that do not say it
const MISSED = 3; // heartbeats, after which a device is offline
const RECENT_FRAMES = 3; // of a camera, for pictures that come after their frame

class Camera {
  constructor(device, source) {
    this.device = device;
    this.source = source;
    this.key = JSON.stringify([device.key, source]);
    this.series = new Series();
    this.recent = []; // frames, the newest first
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

class Device {
  constructor(prefix, name) {
    this.prefix = prefix;
    this.name = name;
    this.heard = null; // when a message of its own came, now and not retained
    this.status = null;
    this.statusAt = null;
    this.clockOffset = 0; // milliseconds by which its clock is ahead of this browser's
    this.available = null; // what its availability topic says; null where there is none
    this.availableAt = null;
    this.uploader = null;
    this.model = null;
    this.cameras = new Map();
    this.waitingPicture = null; // one that came before its frame
  }

  get key() {
    return keyOf(this.prefix, this.name);
  }

  // Whether nothing is known of it but its topics: its name is a guess.
  get unheard() {
    return this.heard === null && this.status === null && this.cameras.size === 0;
  }
}

export const keyOf = (prefix, name) => JSON.stringify([prefix, name]);

export class State {
  #limits;
  #seen;
  #reassembly;
  #vertices = 0;
  #pictureBytes = 0;
  #trailVertices = 0;
  devices = new Map(); // by key, the one that was heard last at the end
  errors = []; // the newest first
  events = [];
  trail = []; // frames with places: { camera, frame }, the newest last
  refusals = new Map(); // messages that are not ours: { reason, count, at } by topic
  refused = 0;
  messages = 0;
  repetitions = 0;
  evicted = 0; // devices and cameras that made room for others
  version = 0;

  constructor(limits = LIMITS) {
    this.#limits = limits;
    this.#seen = new Recent(limits.rememberedIds);
    this.#reassembly = new Reassembly();
  }

  get incomplete() {
    return this.#reassembly.dropped;
  }
  get cameras() {
    return [...this.devices.values()].flatMap((device) => [...device.cameras.values()]);
  }

  // How much is kept, by what there are bounds for.
  get sizes() {
    return {
      devices: this.devices.size,
      cameras: this.cameras.length,
      vertices: this.#vertices,
      seen: this.#seen.size,
      pictureBytes: this.#pictureBytes,
      trail: this.trail.length,
      trailVertices: this.#trailVertices,
      rows: this.errors.length + this.events.length,
      refusals: this.refusals.size,
      waiting: this.#reassembly.waiting,
      waitingBytes: this.#reassembly.bytes,
    };
  }

  // A device that is to be there, though nothing has come from it yet. It is called as its topics are.
  expect(prefix) {
    return this.#device(prefix, prefix.slice(prefix.lastIndexOf("/") + 1));
  }

  // Take a message; gives what it says, or null for a repetition and for what is not ours.
  take(topic, payload, now, retained = false) {
    this.messages += 1;
    this.version += 1;
    try {
      const message = read(topic, payload, now);
      if (message.id !== undefined) {
        const key = `${message.kind} ${message.prefix} ${message.id}`;
        if (this.#seen.has(key)) {
          this.repetitions += 1;
          return null;
        }
        this.#seen.add(key);
      }
      this.#apply(message, now, retained);
      return message;
    } catch (error) {
      if (!(error instanceof NotOurs)) throw error;
      this.#refuse(topic, error.message, now);
      return null;
    }
  }

  #apply(message, now, retained) {
    if (message.kind === "availability") {
      const those = [...this.devices.values()].filter((one) => one.prefix === message.prefix);
      for (const device of those.length ? those : [this.expect(message.prefix)]) {
        device.available = message.available;
        device.availableAt = now;
      }
      return;
    }
    const device = this.#device(message.prefix, message.device);
    if (!retained) {
      device.heard = now;
      device.clockOffset = message.kind === "status" ? message.sentAt - now : device.clockOffset;
    }
    switch (message.kind) {
      case "detections":
        return this.#detections(device, message, now);
      case "snapshots":
        return this.#picture(device, message, now);
      case "status":
        if (device.statusAt !== null && message.time < device.status.time) return undefined; // delivered late
        device.status = message;
        device.statusAt = retained ? message.time : now;
        return undefined;
      case "status/model":
        device.model = message.model;
        return undefined;
      case "status/uploader":
        device.uploader = message;
        return undefined;
      case "errors":
        return this.#row(this.errors, { device: device.name, ...message });
      case "events":
        return this.#event(device, message);
      default:
        return undefined;
    }
  }

  // The device of a topic. One that is heard goes to the end; of too many, that which was silent for longest goes.
  #device(prefix, name) {
    const key = keyOf(prefix, name);
    const device = this.devices.get(key) ?? this.#unheard(prefix) ?? new Device(prefix, name);
    this.devices.delete(device.key);
    device.name = name;
    this.devices.set(key, device);
    if (this.devices.size > this.#limits.devices) {
      const [oldest] = this.devices.values();
      for (const camera of oldest.cameras.values()) this.#forget(camera);
      this.devices.delete(oldest.key);
      this.evicted += 1;
    }
    return device;
  }

  // The one that was expected below this prefix, by whatever name.
  #unheard(prefix) {
    return [...this.devices.values()].find((device) => device.prefix === prefix && device.unheard);
  }

  #camera(device, source) {
    const camera = device.cameras.get(source) ?? new Camera(device, source);
    device.cameras.delete(source);
    device.cameras.set(source, camera);
    if (device.cameras.size > 1 || this.devices.size > 1) this.#boundCameras(camera);
    return camera;
  }

  #boundCameras(kept) {
    let count = 0;
    for (const device of this.devices.values()) count += device.cameras.size;
    if (count <= this.#limits.cameras) return;
    const oldest = this.cameras.find((camera) => camera !== kept);
    this.#forget(oldest);
    oldest.device.cameras.delete(oldest.source);
    this.evicted += 1;
  }

  #detections(device, message, now) {
    const messages = this.#reassembly.take(message);
    if (messages === null) return;
    const camera = this.#camera(device, message.source);
    const frame = joined(messages, this.#limits);
    const counts = new Map();
    for (const { label } of frame.objects) counts.set(label, (counts.get(label) ?? 0) + 1);
    camera.series.add(frame.time, counts);
    if (camera.frame !== null && frame.time < camera.frame.time) return; // delivered late: not the last frame
    this.#change(camera, () => {
      camera.recent = [frame, ...camera.recent].slice(0, RECENT_FRAMES);
    });
    if (frame.objects.some((one) => one.place !== null)) this.#follow(camera, frame);
    const waiting = device.waitingPicture;
    if (waiting?.frame.id === frame.id) {
      device.waitingPicture = null;
      this.#show(camera, frame, waiting.jpeg, now);
    }
  }

  #picture(device, message, now) {
    for (const camera of device.cameras.values()) {
      const frame = camera.recent.find((one) => one.id === message.frame.id);
      if (frame) return this.#show(camera, frame, message.jpeg, now);
    }
    device.waitingPicture = message;
    return undefined;
  }

  // The picture is shown with the outlines of its own frame, never with those of another.
  #show(camera, frame, jpeg, now) {
    this.#dropPicture(camera);
    this.#change(camera, () => {
      camera.pictured = frame;
      camera.picture = { url: URL.createObjectURL(jpeg), bytes: jpeg.size, at: now };
    });
    this.#pictureBytes += jpeg.size;
    for (const other of this.cameras) {
      if (this.#pictureBytes <= this.#limits.pictureBytes) break;
      if (other !== camera) this.#change(other, () => this.#dropPicture(other));
    }
  }

  #dropPicture(camera) {
    if (camera.picture === null) return;
    URL.revokeObjectURL(camera.picture.url);
    this.#pictureBytes -= camera.picture.bytes;
    camera.picture = null;
    camera.pictured = null;
  }

  // Change what is drawn of a camera, and keep count of it; the cameras that were silent for longest make room.
  #change(camera, change) {
    this.#vertices -= camera.vertices;
    change();
    this.#vertices += camera.vertices;
    camera.version += 1;
    if (this.#vertices <= this.#limits.keptVertices) return;
    for (const other of this.cameras) {
      if (other === camera || this.#vertices <= this.#limits.keptVertices) continue;
      this.#vertices -= other.vertices;
      this.#dropPicture(other);
      other.recent = [];
      other.version += 1;
    }
  }

  #forget(camera) {
    this.#vertices -= camera.vertices;
    this.#dropPicture(camera);
    const gone = (one) => one.camera === camera;
    for (const one of this.trail.filter(gone)) this.#trailVertices -= placeVertices(one.frame);
    this.trail = this.trail.filter((one) => !gone(one));
  }

  #follow(camera, frame) {
    this.trail.push({ camera, frame });
    this.#trailVertices += placeVertices(frame);
    while (this.trail.length > this.#limits.trailFrames || this.#trailVertices > this.#limits.trailVertices) {
      this.#trailVertices -= placeVertices(this.trail.shift().frame);
    }
  }

  #event(device, message) {
    const camera = this.#camera(device, message.source);
    if (message.counts) {
      if (camera.counts === null || message.time >= camera.counts.time)
        camera.counts = { ...message.counts, time: message.time };
      return;
    }
    this.#row(this.events, { device: device.name, ...message });
  }

  #row(rows, row) {
    rows.unshift(row);
    if (rows.length > this.#limits.rows) rows.pop();
  }

  #refuse(topic, reason, now) {
    this.refused += 1;
    const shown = topic.slice(0, this.#limits.textLength);
    const before = this.refusals.get(shown);
    this.refusals.delete(shown);
    this.refusals.set(shown, { reason, count: (before?.count ?? 0) + 1, at: now });
    if (this.refusals.size > this.#limits.refusals) this.refusals.delete(this.refusals.keys().next().value);
  }
}

const placeVertices = (frame) => frame.objects.reduce((sum, one) => sum + (one.place?.vertices ?? 0), 0);

// A frame of all its messages, with as many objects as there is room for.
function joined(messages, limits) {
  const [first] = messages;
  const objects = [];
  let vertices = 0,
    found = 0;
  for (const one of messages.flatMap((message) => message.objects)) {
    found += 1;
    const cost = one.vertices + (one.place?.vertices ?? 0);
    if (objects.length === limits.objects || vertices + cost > 2 * limits.vertices) continue;
    vertices += cost;
    objects.push(one);
  }
  const omitted = messages.reduce((sum, message) => sum + message.omitted, found - objects.length);
  return {
    ...first.frame,
    time: first.time,
    model: first.model,
    by: first.by,
    unsupported: first.unsupported,
    objects,
    omitted,
    vertices,
  };
}

const WORDS = { running: "online", "waiting for a model": "waiting", restarting: "restarting", stopping: "stopped" };

// What a device said last: a heartbeat before its first model is followed by frames before it is by another one.
function said({ status, cameras }) {
  const frames = [...cameras.values()].some(({ frame }) => frame !== null && frame.time > (status?.time ?? 0));
  return frames ? "online" : (WORDS[status?.state] ?? "online");
}

// Whether a device is there: what its last will says, else how old its heartbeat is. { word, why }
export function presence(device, now) {
  const interval = (device.status?.interval ?? DEFAULT_INTERVAL) * 1000;
  const last = Math.max(device.statusAt ?? 0, device.heard ?? 0);
  if (device.available === false && device.availableAt >= (device.heard ?? 0)) {
    return { word: "offline", why: "its last will says so" };
  }
  if (!last) return { word: "unknown", why: "nothing has come from it yet" };
  const word = said(device);
  if (word === "stopped") return { word, why: "it said that it stops" };
  if (now - last > MISSED * interval) {
    return { word: "offline", why: `expected a heartbeat every ${interval / 1000} s` };
  }
  return { word, why: word === "waiting" ? "it has no model yet" : "" };
}
