// Pictures of cameras, asked for by the page itself where the operator has said how often: one at a time from each
// device, and only of what somebody looks at. The device answers with the next frame that it works on.
const UNANSWERED = 5000; // milliseconds, after which the same command is sent again: devices know it by its id
const PATIENCE = 600_000; // until a picture that was promised and did not come is asked for again
const AFTER_REFUSAL = 60_000;

export class Pictures {
  #seconds;
  #publish;
  #asked = new Map(); // by key of the device: { id, at, promised }, of what has not come
  #notBefore = new Map(); // by key of the device

  // seconds: between two pictures of a device; null for none. publish(topic, text): a promise.
  constructor(seconds, publish) {
    this.#seconds = seconds;
    this.#publish = publish;
  }

  // Ask those devices whose turn it is, and nobody else any more.
  tick(devices, now) {
    if (this.#seconds === null) return;
    for (const known of [this.#asked, this.#notBefore]) {
      for (const key of known.keys()) if (!devices.some((device) => device.key === key)) known.delete(key);
    }
    for (const device of devices) {
      const asked = this.#asked.get(device.key);
      if (asked && now - asked.at < (asked.promised ? PATIENCE : UNANSWERED)) continue;
      if (now < (this.#notBefore.get(device.key) ?? 0)) continue;
      this.#ask(device, asked && !asked.promised ? asked.id : crypto.randomUUID(), now);
    }
  }

  // The device has said that a picture will come, or that none will.
  answered(device, request, succeeded, now) {
    const asked = this.#asked.get(device.key);
    if (asked?.id !== request) return;
    if (succeeded) asked.promised = true;
    else this.#done(device, now + AFTER_REFUSAL);
  }

  // A picture has come.
  arrived(device, request, now) {
    if (this.#asked.get(device.key)?.id === request) this.#done(device, now + 1000 * this.#seconds);
  }

  #ask(device, id, now) {
    this.#asked.set(device.key, { id, at: now, promised: false });
    this.#publish(`${device.prefix}/commands`, JSON.stringify({ id, command: "snapshot", arguments: {} })).catch(() =>
      this.answered(device, id, false, now),
    );
  }

  #done(device, notBefore) {
    this.#asked.delete(device.key);
    this.#notBefore.set(device.key, notBefore);
  }
}
