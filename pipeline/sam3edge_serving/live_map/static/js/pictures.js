// Pictures of cameras, asked for by the page itself where the operator has said how often: one at a time from each device,
// and only of what somebody looks at. The device answers with the next frame that it works on.
const PATIENCE = 600_000; // milliseconds until a picture that did not come is asked for again
const AFTER_REFUSAL = 60_000;

export class Pictures {
  #seconds;
  #publish;
  #asked = new Map(); // by key of the device: { id, at }, of what has not come
  #notBefore = new Map(); // by key of the device

  // seconds: between two pictures of a device; null for none. publish(topic, text): a promise.
  constructor(seconds, publish) {
    this.#seconds = seconds;
    this.#publish = publish;
  }

  // Ask those devices whose turn it is.
  tick(devices, now) {
    if (this.#seconds === null) return;
    for (const key of [...this.#asked.keys(), ...this.#notBefore.keys()]) {
      if (!devices.some((device) => device.key === key)) this.#forget(key);
    }
    for (const device of devices) {
      const asked = this.#asked.get(device.key);
      if (asked && now - asked.at < PATIENCE) continue;
      if (now < (this.#notBefore.get(device.key) ?? 0)) continue;
      this.#ask(device, now);
    }
  }

  // A picture has come, or the device has refused to send one.
  arrived(device, request, now) { this.#done(device, request, now + 1000 * (this.#seconds ?? 0)); }
  refused(device, request, now) { this.#done(device, request, now + AFTER_REFUSAL); }

  #ask(device, now) {
    const id = crypto.randomUUID();
    this.#asked.set(device.key, { id, at: now });
    this.#publish(`${device.prefix}/commands`, JSON.stringify({ id, command: "snapshot", arguments: {} }))
      .catch(() => this.refused(device, id, now));
  }

  #done(device, request, notBefore) {
    if (this.#asked.get(device.key)?.id !== request) return;
    this.#asked.delete(device.key);
    this.#notBefore.set(device.key, notBefore);
  }

  #forget(key) {
    this.#asked.delete(key);
    this.#notBefore.delete(key);
  }
}
