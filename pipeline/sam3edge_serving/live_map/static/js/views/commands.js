// Commands to the chosen device, and what it responds.
import { Elements, find, make, say } from "../dom.js";
import { byName } from "../order.js";
import { when } from "../words.js";
import { options } from "./chart.js";

const NAMES = { set_prompts: "set prompts", set_threshold: "set threshold", snapshot: "picture" };
const STATES = new Map([
  ["sent", "… waiting"],
  ["SUCCEEDED", "✓ done"],
  ["REJECTED", "✕ refused"],
  ["FAILED", "✕ failed"],
  ["no response", "? no response"],
  ["not confirmed", "? not confirmed"],
]);

export class CommandsView {
  #state;
  #commands;
  #config;
  #list;
  #select = find("command-device");
  #prompts = find("command-prompts");
  #written = null; // what the fields were filled with: { key, text }

  constructor(state, commands, config) {
    this.#state = state;
    this.#commands = commands;
    this.#config = config;
    this.#list = new Elements(
      find("command-list"),
      (entry) =>
        make(
          "li",
          {},
          make("time"),
          " ",
          make("strong", { textContent: entry.device }),
          ` ${NAMES[entry.name]} `,
          make("span", { className: "state" }),
          " ",
          make("span", { className: "quiet" }),
        ),
      (row, entry) => {
        const [time, , state, text] = row.children;
        say(time, when(entry.at, this.now));
        row.dataset.state = entry.state;
        say(state, STATES.get(entry.state) ?? entry.state);
        say(text, entry.text);
      },
    );
    find("command-form").onsubmit = (event) => this.#submit(event);
    find("command-reset").onclick = () => {
      this.#written = null;
    };
    find("command-snapshot").hidden = !config.pictures;
    if (!config.commands) find("no-commands").textContent = "This page was started without commands (--read-only).";
  }

  render(now) {
    this.now = now;
    const devices = [...this.#state.devices.values()]
      .filter((device) => !device.unheard)
      .sort(byName);
    const usable = this.#config.commands && devices.length > 0;
    find("no-commands").hidden = usable;
    find("command-form").hidden = !usable;
    options(
      this.#select,
      devices.map((device) => [device.key, device.name]),
    );
    const device = this.#device;
    if (usable && device) this.#fill(device);
    this.#list.show(this.#commands.list.map((entry) => [entry.id, entry]));
  }

  // The device that commands go to.
  choose(key) {
    if (key !== null) this.#select.value = key;
  }

  get #device() {
    return this.#state.devices.get(this.#select.value);
  }

  // What the device looks for, unless somebody is writing something else.
  #fill({ key, status }) {
    if (!status) return;
    const whole = isWhole(status);
    const text = whole ? written(status.prompts) : "";
    const untouched = this.#written?.key === key && this.#prompts.value === this.#written.text;
    if (this.#written?.key !== key || (untouched && text !== this.#written.text)) {
      this.#prompts.value = text;
      this.#written = { key, text };
    }
    say(
      find("command-note"),
      whole
        ? "Replaces the whole list. Phrases without a threshold or least area of their own get the device's."
        : `The device looks for ${status.promptCount} phrases, more or longer ones than its heartbeat holds: write ` +
            "all down.",
    );
  }

  #submit(event) {
    event.preventDefault();
    const device = this.#device,
      name = event.submitter?.value ?? "set_prompts";
    if (!device) return;
    try {
      this.#commands.send(device, name, VALUES[name]());
      say(find("command-error"), "");
      if (name === "set_prompts") this.#written = { key: device.key, text: this.#prompts.value };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      say(find("command-error"), error.message);
    }
  }
}

const VALUES = {
  set_prompts: () => ({ prompts: prompts(find("command-prompts").value) }),
  set_threshold: () => {
    const threshold = find("command-threshold").valueAsNumber;
    if (!(threshold >= 0 && threshold <= 1)) throw new RangeError("Expected a threshold from 0 to 1.");
    return { threshold };
  },
  snapshot: () => ({}),
};

// Prompts of lines "phrase | label | threshold | least area".
function prompts(text) {
  const lines = text
    .split("\n")
    .map((line) => line.split("|").map((part) => part.trim()))
    .filter(([phrase]) => phrase);
  if (!lines.length) throw new RangeError("Expected a phrase at least.");
  return lines.map(([phrase, label = "", threshold = "", area = "", ...rest]) => {
    if (rest.length || !(Number(threshold) >= 0 && Number(threshold) <= 1) || !(Number(area) >= 0)) {
      throw new RangeError(
        'Expected "phrase | label | threshold | least area" with a threshold from 0 to 1 and an area in pixels, got ' +
          `"${[phrase, label, threshold, area, ...rest].join(" | ")}".`,
      );
    }
    if (!label && !threshold && !area) return phrase;
    return {
      Text: phrase,
      ...(label && { Label: label }),
      ...(threshold && { Threshold: Number(threshold) }),
      ...(area && { MinArea: Number(area) }),
    };
  });
}

// The same of what a heartbeat says. A threshold or area that all have is taken for the device's, and not written.
function written(all) {
  const own = (key) => (all.every((one) => one[key] === all[0][key]) ? () => "" : (one) => String(one[key]));
  const threshold = own("threshold"),
    area = own("minArea");
  return all
    .map((one) => {
      const parts = [one.text, one.label === one.text ? "" : one.label, threshold(one), area(one)];
      while (parts.at(-1) === "") parts.pop();
      return parts.join(" | ").replace(/\|  (?=\|)/g, "| ");
    })
    .join("\n");
}

// Whether a heartbeat names all phrases, and none of them cut.
function isWhole({ prompts: named, promptCount }) {
  return named.length === promptCount && !named.some((one) => /…$|[|\n]/.test(one.text + one.label));
}
