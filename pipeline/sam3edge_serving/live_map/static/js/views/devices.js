// Devices with their state, and what the chosen one says of itself.
import { presence } from "../device.js";
import { Elements, find, make, say } from "../dom.js";
import { byName } from "../order.js";
import { marked } from "../reading.js";
import { counted, duration, when } from "../words.js";

const SIGNS = { online: "●", waiting: "◐", restarting: "◐", stopped: "■", offline: "✕", unknown: "?" };
const SKEW = 60_000; // milliseconds by which a device's clock may differ before it is said

export class DevicesView {
  #state;
  #selection;
  #list;
  #facts;

  // selection: { key, choose(key) }, of the device that was chosen; null for all.
  constructor(state, selection) {
    this.#state = state;
    this.#selection = selection;
    this.#list = new Elements(
      find("device-list"),
      (device) => this.#row(device),
      (row, device) => this.#update(row, device),
    );
    const facts = find("device-details").appendChild(make("dl"));
    this.#facts = new Elements(
      facts,
      ([name]) => make("div", {}, make("dt", { textContent: name }), make("dd")),
      (row, [, text]) => say(row.lastElementChild, text),
    );
  }

  render(now) {
    this.now = now;
    const devices = [...this.#state.devices.values()].sort(byName);
    find("no-devices").hidden = devices.length > 0;
    this.#list.show(devices.map((device) => [device.key, device]));
    const chosen = this.#state.devices.get(this.#selection.key);
    find("device-details").hidden = !chosen;
    this.#facts.show(chosen ? facts(chosen, now).map((fact) => [fact[0], fact]) : []);
  }

  #row(device) {
    const button = make(
      "button",
      { type: "button" },
      make("span", { className: "sign", "aria-hidden": "true" }),
      make("span", { className: "name", textContent: device.name }),
      make("span", { className: "word" }),
      make("span", { className: "quiet" }),
    );
    button.onclick = () => this.#selection.choose(this.#selection.key === device.key ? null : device.key);
    return make("li", {}, button);
  }

  #update(row, device) {
    const { word, why } = presence(device, this.now, this.#state.deafSince);
    const [sign, , written, detail] = row.firstElementChild.children;
    row.dataset.presence = word;
    row.firstElementChild.setAttribute("aria-pressed", device.key === this.#selection.key);
    say(sign, SIGNS[word]);
    say(written, word);
    say(detail, [age(device, this.now), why, word === "online" && rate(device)].filter(Boolean).join(" · "));
  }
}

function age(device, now) {
  if (device.statusAt === null) return device.heard === null ? "" : `heard ${duration(now - device.heard)} ago`;
  return `heartbeat ${duration(now - device.statusAt)} ago`;
}

const rate = ({ status }) => (status ? `${status.framesPerSecond.toFixed(1)} frames/s` : "");

// What the chosen device says of itself: [name, text].
function facts(device, now) {
  const { status, uploader } = device;
  const model = status?.model ?? device.model;
  return [
    ["topics", `${marked(device.prefix)}/…`],
    model && ["model", `${model.name} ${model.version}, ${model.precision} on ${model.provider}`],
    status && ["looks for", status.prompts.map(prompt).join(", ") + more(status.promptCount - status.prompts.length)],
    status && ["up for", duration(status.uptime * 1000)],
    status && [
      "frames",
      `${status.frames}, with ${counted(status.instances, "object")}; ${status.rejected} could not be used` +
        (status.backlog ? `; ${status.backlog} waiting` : ""),
    ],
    status && [
      "not delivered yet",
      counted(status.queued, "message") + (status.queued ? `, the oldest for ${duration(status.oldest * 1000)}` : ""),
    ],
    status?.tracks !== null && status && ["tracks now", String(status.tracks)],
    status?.georeference && [
      "places on Earth",
      [status.georeference.state, status.georeference.reason].filter(Boolean).join(": "),
    ],
    status?.alarms.length > 0 && [
      "drift",
      status.alarms.map((one) => `${one.metric} of ${one.prompt} (${one.source})`).join(", "),
    ],
    status?.lastError && ["last error", status.lastError],
    uploader && [
      "uploader",
      `${uploader.state}; ${counted(uploader.waiting, "example")} waiting, ${uploader.uploaded} uploaded` +
        (uploader.lastError ? `; ${uploader.lastError}` : ""),
    ],
    Math.abs(device.clockOffset) > SKEW && [
      "clock",
      `${duration(Math.abs(device.clockOffset))} ` +
        (device.clockOffset > 0 ? "ahead of" : "behind") +
        " this computer's",
    ],
    device.statusAt !== null && [
      "last heartbeat",
      `${when(device.statusAt, now)}, ${duration(now - device.statusAt)} ago`,
    ],
  ].filter(Boolean);
}

function prompt({ text, label, threshold }) {
  return `${text}${label === text ? "" : ` (${label})`} > ${threshold}`;
}

const more = (count) => (count > 0 ? ` and ${count} more` : "");
