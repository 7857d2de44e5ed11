// The page: puts its parts together, and draws when there is something new.
import "./trust.js";
import { Palette } from "./colors.js";
import { Commands } from "./commands.js";
import { Connection } from "./connection.js";
import { keyOf, presence } from "./device.js";
import { Elements, find, make, say } from "./dom.js";
import { TOPICS } from "./messages.js";
import { Pictures } from "./pictures.js";
import { problems } from "./problems.js";
import { WAYS } from "./signin.js";
import { State } from "./state.js";
import { counted } from "./words.js";
import { CamerasView } from "./views/cameras.js";
import { ChartView } from "./views/chart.js";
import { CommandsView } from "./views/commands.js";
import { DevicesView } from "./views/devices.js";
import { MapView } from "./views/map.js";
import { ErrorsView, EventsView } from "./views/rows.js";

const MANY = 5; // changes, above which they are counted and not named
const DRAW_EVERY = 250,
  CHART_EVERY = 1000; // milliseconds
const PRESENT = ["online", "waiting", "restarting"]; // devices that take commands, now or soon
const PHASES = {
  stopped: "not connected",
  connecting: "connecting",
  connected: "connected",
  waiting: "not connected",
  refused: "refused",
};

class Selection {
  key = null; // of the device that was chosen
  #onChoose = [];
  choose(key) {
    this.key = key;
    for (const told of this.#onChoose) told(key);
  }
  on(told) {
    this.#onChoose.push(told);
  }
}

class Page {
  #config;
  #typed = {}; // credentials
  #signIn = true; // whether the page asks for them
  #state = new State();
  #selection = new Selection();
  #connection;
  #commands;
  #pictures;
  #views;
  #cameras;
  #chart;
  #problems = new Elements(
    find("problems"),
    () => make("li", { className: "problem" }),
    (item, text) => say(item, text),
  );
  #presence = new Map(); // what was last said of each device
  #wrong = new Set(); // keys of problems that were said
  #failures = new Map(); // parts of the page that failed: { reason, at } by name
  #rate = { at: Date.now(), messages: 0, text: "" };
  #chartAt = 0;

  constructor(config) {
    this.#config = config;
    const way = WAYS[config.signIn],
      palette = new Palette();
    const publish = (topic, text) => this.#connection.publish(topic, text);
    this.#connection = new Connection({
      open: () => way.open(config, this.#typed),
      filters: config.prefixes.flatMap((prefix) =>
        TOPICS.filter((topic) => topic !== "snapshots" || config.pictures).map((topic) => `${prefix}/${topic}`),
      ),
      onMessage: (...message) => this.#part("messages", Date.now(), () => this.#take(...message)),
      onChange: () => this.#changed(),
    });
    this.#commands = new Commands(publish, (entry) => this.#told(entry));
    this.#pictures = new Pictures(config.pictures && config.commands ? config.pictureSeconds : null, publish);
    this.#cameras = new CamerasView(this.#state, config, this.#selection, palette, (camera) =>
      this.#commands.send(camera.device, "snapshot", {}),
    );
    this.#chart = new ChartView(this.#state, this.#selection, palette);
    const commands = new CommandsView(this.#state, this.#commands, config);
    this.#selection.on((key) => commands.choose(key));
    this.#views = {
      devices: new DevicesView(this.#state, this.#selection),
      cameras: this.#cameras,
      map: new MapView(this.#state, config, this.#selection, palette),
      commands,
      events: new EventsView(this.#state, this.#selection),
      errors: new ErrorsView(this.#state, this.#selection),
    };
    for (const prefix of config.prefixes) if (!prefix.includes("+")) this.#state.expect(prefix);
  }

  start() {
    const { fields } = WAYS[this.#config.signIn];
    find("sign-in-fields").append(
      ...fields.map(({ name, label, type, required }) =>
        make(
          "label",
          { textContent: `${label} ` },
          make("input", { name, type, required, autocomplete: "off", spellcheck: false }),
        ),
      ),
    );
    find("sign-in-form").onsubmit = (event) => {
      event.preventDefault();
      this.#typed = Object.fromEntries(new FormData(event.target));
      event.target.reset();
      this.#connection.start();
    };
    if (fields.length) this.#changed();
    else this.#connection.start();
    addEventListener("online", () => {
      if (this.#connection.phase === "waiting") this.#connection.start();
    });
    addEventListener("pagehide", () => this.#connection.stop());
    addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
    setInterval(() => this.#tick(), DRAW_EVERY);
    const draw = () => {
      try {
        this.#draw(Date.now());
      } finally {
        setTimeout(() => requestAnimationFrame(draw), DRAW_EVERY);
      }
    };
    requestAnimationFrame(draw);
  }

  #take(topic, payload, retained) {
    const now = Date.now();
    const message = this.#state.take(topic, payload, now, retained);
    if (message === null) return;
    const device = this.#state.devices.get(keyOf(message.prefix, message.device));
    if (message.kind === "snapshots") {
      this.#pictures.arrived(device, message.request, now);
      this.#pictures.tick(this.#looked(), now);
    }
    if (message.kind === "commands/response") {
      this.#commands.answered(message);
      this.#pictures.answered(device, message.command, message.status === "SUCCEEDED", now);
    }
  }

  // Devices that somebody looks at: of those the page asks for pictures.
  #looked() {
    if (document.hidden || this.#connection.phase !== "connected") return [];
    return [...this.#state.devices.values()].filter(
      (device) =>
        device.key === (this.#selection.key ?? device.key) &&
        PRESENT.includes(presence(device, Date.now(), this.#state.deafSince).word) &&
        (!device.cameras.size || [...device.cameras.values()].some((camera) => this.#cameras.onScreen.has(camera))),
    );
  }

  #tick() {
    const now = Date.now();
    this.#commands.tick(now);
    this.#pictures.tick(this.#looked(), now);
  }

  #changed() {
    const { phase, reason } = this.#connection;
    // where a broker cannot be reached, it may be for what was typed; it stays while somebody types something else
    if (phase === "connected") this.#signIn = false;
    if (phase === "connected") this.#state.listen(Date.now());
    else this.#state.deafen(Date.now());
    if (phase === "refused" || reason === "unreachable") this.#signIn = true;
    find("sign-in").hidden = !this.#signIn || !WAYS[this.#config.signIn].fields.length;
    find("connection").dataset.phase = phase;
    say(
      find("connection-text"),
      `${PHASES[phase]}${phase === "connected" ? ` to ${new URL(this.#config.broker).host}` : ""}`,
    );
  }

  // A command was answered, or was not: that is said aloud, too.
  #told(entry) {
    if (entry)
      this.#say([`${entry.name.replace("_", " ")} on ${entry.device}: ${entry.state.toLowerCase()}`, entry.text]);
  }

  #say(texts) {
    if (texts.length) find("announcements").textContent = texts.join(". ");
  }

  #draw(now) {
    if (this.#selection.key !== null && !this.#state.devices.has(this.#selection.key)) this.#selection.choose(null);
    for (const [name, view] of Object.entries(this.#views)) this.#part(name, now, () => view.render(now));
    if (now - this.#chartAt > CHART_EVERY) {
      this.#chartAt = now;
      this.#part("counts", now, () => this.#chart.render(now));
    }
    const wrong = problems(this.#config, this.#connection, this.#state, this.#failures, now);
    this.#problems.show(wrong);
    this.#say([...this.#newProblems(wrong), ...this.#changes(now)]);
    if (now - this.#rate.at > 2000) this.#measure(now);
    say(
      find("rate"),
      [counted(this.#state.devices.size, "device"), counted(this.#state.messages, "message"), this.#rate.text]
        .filter(Boolean)
        .join(" · "),
    );
  }

  // A part of the page that fails costs no other one, and is said; the console has the whole error, once.
  #part(name, now, work) {
    try {
      work();
    } catch (error) {
      if (this.#failures.get(name)?.reason !== error.message) reportError(error);
      this.#failures.set(name, { reason: error.message, at: now });
    }
  }

  #measure(now) {
    const rate = (1000 * (this.#state.messages - this.#rate.messages)) / (now - this.#rate.at);
    this.#rate = { at: now, messages: this.#state.messages, text: `${rate.toFixed(1)}/s` };
  }

  // What is said aloud: what was not wrong before; a countdown in its text is not news.
  #newProblems(wrong) {
    const before = this.#wrong;
    this.#wrong = new Set(wrong.map(([key]) => key));
    return wrong.filter(([key]) => !before.has(key)).map(([, text]) => text);
  }

  // Which devices have come, gone, or changed their state, as far as anybody knows.
  #changes(now) {
    if (this.#state.deafSince !== null) return [];
    const changed = [];
    for (const device of this.#state.devices.values()) {
      const { word } = presence(device, now);
      if (this.#presence.get(device.key) !== word) changed.push(`${device.name} is ${word}`);
      this.#presence.set(device.key, word);
    }
    for (const key of this.#presence.keys()) if (!this.#state.devices.has(key)) this.#presence.delete(key);
    return changed.length > MANY ? [`${changed.length} devices have changed their state`] : changed;
  }
}

async function start() {
  let config;
  try {
    const response = await fetch("config.json");
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    config = await response.json();
  } catch (error) {
    find("problems").append(
      make("li", {
        className: "problem",
        textContent:
          "This page's own server does not answer " +
          `(${error.message}): it may have been stopped. Start it again and open the address that it prints.`,
      }),
    );
    say(find("connection-text"), "not connected");
    return;
  }
  new Page(config).start();
}

start();
