// Commands to devices, and what became of them: each response is matched by the command's id.
import { LIMITS } from "./limits.js";
import { keyOf } from "./device.js";

const PATIENCE = 30_000; // milliseconds that a device may take

export class Commands {
  #publish;
  #onChange;
  list = []; // the newest first: { id, device, name, arguments, at, state, text }

  // publish(topic, text): a promise, see Connection.
  constructor(publish, onChange) {
    this.#publish = publish;
    this.#onChange = onChange;
  }

  // Send one to a device; gives what the list says of it.
  send(device, name, values, now = Date.now()) {
    const id = crypto.randomUUID();
    const entry = { id, key: device.key, device: device.name, name, values, at: now, state: "sent", text: "" };
    this.list.unshift(entry);
    if (this.list.length > LIMITS.commands) this.list.pop();
    this.#publish(`${device.prefix}/commands`, JSON.stringify({ id, command: name, arguments: values })).catch(
      (error) => {
        if (entry.state === "sent") this.#settle(entry, "not confirmed", error.message);
      },
    );
    this.#onChange();
    return entry;
  }

  // A response of a device; those to the commands of others, and of devices that were not asked, are nothing to this
  // page.
  answered(message) {
    const key = keyOf(message.prefix, message.device);
    const entry = this.list.find((one) => one.id === message.command && one.key === key);
    if (entry) this.#settle(entry, message.status, message.reason);
  }

  // Say of what got no response in time that it did not; a response that comes later still counts.
  tick(now) {
    for (const entry of this.list) {
      if (entry.state === "sent" && now - entry.at > PATIENCE) {
        this.#settle(
          entry,
          "no response",
          `nothing within ${PATIENCE / 1000} s; the device may be offline or may not listen to this broker, or the ` +
            "page may lack the right to publish its command",
        );
      }
    }
  }

  #settle(entry, state, text) {
    entry.state = state;
    entry.text = text;
    this.#onChange(entry);
  }
}
