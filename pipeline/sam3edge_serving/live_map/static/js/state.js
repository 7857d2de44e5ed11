// What is known of all devices, out of their messages. Bounded: see limits.js.
import { Camera, Device, SETTLED, keyOf } from "./device.js";
import { LIMITS } from "./limits.js";
import { read } from "./messages.js";
import { NotOurs, marked } from "./reading.js";
import { Reassembly, Recent } from "./reassembly.js";
import { Series } from "./series.js";

const RECENT_FRAMES = 3; // of a camera, for pictures that come after their frame

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
  spoilt = 0; // pictures that the browser cannot decode
  faultAt = {}; // when there was last one more of the refused, evicted and spoilt
  deafSince = null; // since when there is no connection; null while there is one
  version = 0;

  constructor(limits = LIMITS) {
    this.#limits = limits;
    this.#seen = new Recent(limits.rememberedIds);
    this.#reassembly = new Reassembly();
  }

  // How many frames are not shown, since parts of them did not come, of those that were heard of within so long.
  incomplete(now, within) {
    return this.#reassembly.incomplete(now, within);
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
  expect(prefix, now = Date.now()) {
    return this.#device(prefix, prefix.slice(prefix.lastIndexOf("/") + 1), now);
  }

  // There is no connection from now on: nothing can be said of any device.
  deafen(now) {
    this.deafSince ??= now;
  }

  // There is one again. The time without counts against nobody.
  listen(now) {
    if (this.deafSince === null) return;
    for (const device of this.devices.values()) device.unheardFor += now - this.deafSince;
    this.deafSince = null;
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
      for (const device of those.length ? those : [this.expect(message.prefix, now)]) {
        device.available = message.available;
        device.availableAt = now;
      }
      return;
    }
    const device = this.#device(message.prefix, message.device, now);
    if (!retained) {
      device.hear(now);
      device.lateness.take(message.sentAt, now);
      device.clockOffset = message.kind === "status" ? message.sentAt - now : device.clockOffset;
    }
    switch (message.kind) {
      case "detections":
        return this.#detections(device, message, now, retained);
      case "snapshots":
        return this.#picture(device, message, now);
      case "status":
        return device.beat(message, now, retained ? message.time : now);
      case "status/model":
        device.model = message.model;
        return undefined;
      case "status/uploader":
        device.uploader = message;
        return undefined;
      case "errors":
        return this.#row(this.errors, device, message);
      case "events":
        return this.#event(device, message, now);
      default:
        return undefined;
    }
  }

  // The device of a topic. One that is heard goes to the end; of too many, that which was silent for longest goes.
  #device(prefix, id, now) {
    const key = keyOf(prefix, id);
    const device = this.devices.get(key) ?? this.#unheard(prefix) ?? new Device(prefix, id);
    this.devices.delete(device.key);
    device.id = id;
    this.devices.set(key, device);
    if (this.devices.size > this.#limits.devices) {
      const [oldest] = this.devices.values();
      for (const camera of oldest.cameras.values()) this.#forget(camera);
      this.devices.delete(oldest.key);
      this.#count("evicted", now);
    }
    return device;
  }

  // The one that was expected below this prefix, by whatever name.
  #unheard(prefix) {
    return [...this.devices.values()].find((device) => device.prefix === prefix && device.unheard);
  }

  // The camera of a source. One that is heard goes to the end of its device's; of too many, that which was silent for
  // longest goes: of those of this device, before those of others.
  #camera(device, source, now) {
    const camera = device.cameras.get(source) ?? new Camera(device, source);
    device.cameras.delete(source);
    device.cameras.set(source, camera);
    if (device.cameras.size > this.#limits.sources) this.#dismiss([...device.cameras.values()][0], now);
    const { cameras } = this;
    if (cameras.length > this.#limits.cameras) this.#dismiss(cameras.find((one) => one !== camera), now);
    return camera;
  }

  #dismiss(camera, now) {
    this.#forget(camera);
    camera.device.cameras.delete(camera.source);
    this.#count("evicted", now);
  }

  #count(fault, now) {
    this[fault] += 1;
    this.faultAt[fault] = now;
  }

  #detections(device, message, now, retained) {
    const messages = this.#reassembly.take(message, now, retained);
    if (messages === null) return;
    const camera = this.#camera(device, message.source, now);
    const frame = joined(messages, this.#limits);
    const counts = new Map();
    for (const { label } of frame.objects) counts.set(label, (counts.get(label) ?? 0) + 1);
    const older = camera.frame !== null && frame.time < camera.frame.time;
    const setBack = older && now - camera.heard > SETTLED;
    if (setBack) camera.series = new Series(); // it holds times that are yet to come
    camera.series.add(frame.time, counts);
    if (older && !setBack) return; // delivered late: not the last frame
    camera.heard = now;
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

  // A picture that the browser cannot decode: the camera is shown without it.
  spoil(camera, picture, now = Date.now()) {
    if (picture === null || camera.picture !== picture) return; // there is another one by now
    this.#count("spoilt", now);
    this.#change(camera, () => this.#dropPicture(camera));
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

  #event(device, message, now) {
    const camera = this.#camera(device, message.source, now);
    if (message.counts) {
      const { counts } = camera;
      if (counts === null || message.time >= counts.time || now - counts.heard > SETTLED)
        camera.counts = { ...message.counts, time: message.time, heard: now };
      return;
    }
    this.#row(this.events, device, message);
  }

  #row(rows, device, message) {
    rows.unshift({ ...message, key: device.key, device: device.name });
    if (rows.length > this.#limits.rows) rows.pop();
  }

  #refuse(topic, reason, now) {
    this.#count("refused", now);
    const shown = marked(topic.slice(0, this.#limits.textLength));
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
