// MQTT 3.1.1 over WebSockets, for as long as the page is open: connects, subscribes, comes back after a loss. A new
// client for each connection, so that addresses can be signed anew, and nothing that was refused is sent again.
import mqtt from "../vendor/mqtt/mqtt.esm.js";

const FIRST_PAUSE = 1000,
  LONGEST_PAUSE = 30_000; // milliseconds between attempts
const SETTLED = 10_000; // connected for so long, the next loss is a new one
const SHORT = 5000; // a connection that is closed sooner was closed for a reason
const CONNECT_TIMEOUT = 15_000;
const KEEP_ALIVE = 50; // seconds: less than the minute after which proxies close what is silent

// Return codes of CONNACK (MQTT 3.1.1, table 3.1) that another attempt would get again. 3 is a broker that is not ready.
const REFUSALS = new Map([
  [1, "it does not speak MQTT 3.1.1"],
  [2, "it does not take the client's id"],
  [4, "user name or password is wrong"],
  [5, "not authorized"],
]);
const OF_CREDENTIALS = [4, 5];

export class Connection {
  #open;
  #filters;
  #onMessage;
  #onChange;
  #client = null;
  #attempt = 0; // which one the events of a client belong to
  #pause = FIRST_PAUSE;
  #timer = null;
  #shortOnes = 0;
  phase = "stopped"; // connecting, connected, waiting, refused
  reason = ""; // why it is not connected
  forWhoItIs = false; // whether it was refused for its credentials, or for having none
  retryAt = null; // when it tries again
  since = null; // when it was connected
  denied = []; // filters that the broker does not grant
  granted = 0;

  // open: gives { address, username, password } for a connection; filters: what to subscribe to;
  // onMessage(topic, payload, retained); onChange: called when what is told here has changed.
  constructor({ open, filters, onMessage, onChange }) {
    this.#open = open;
    this.#filters = filters;
    this.#onMessage = onMessage;
    this.#onChange = onChange;
  }

  // Connects, now and whenever the connection is lost, until stop.
  async start() {
    clearTimeout(this.#timer);
    this.#end();
    const attempt = this.#attempt;
    this.#become("connecting", this.reason);
    let way;
    try {
      way = await this.#open();
    } catch (error) {
      if (attempt === this.#attempt) this.#refused(`the address could not be signed: ${error.message}`, true);
      return;
    }
    if (attempt === this.#attempt) this.#connect(way, attempt);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#end();
    this.#become("stopped", "");
  }

  // Hands a message to the broker; settles when it has confirmed it, or cannot.
  publish(topic, text) {
    const client = this.#client;
    if (client === null || !client.connected) return Promise.reject(new Error("there is no connection to the broker"));
    return new Promise((resolve, reject) => {
      const lost = () =>
        reject(
          new Error(
            "the connection was closed before the broker confirmed the command; AWS IoT Core " +
              `does that where the right to publish to ${topic} is missing`,
          ),
        );
      client.once("close", lost);
      client.publish(topic, text, { qos: 1 }, (error) => {
        client.off("close", lost);
        if (error) lost();
        else resolve();
      });
    });
  }

  #connect({ address, username, password }, attempt) {
    const mine = () => attempt === this.#attempt;
    const client = mqtt.connect(address, {
      transformWsUrl: () => address, // whole, with its query
      clientId: `sam3edge-page-${crypto.randomUUID()}`,
      username,
      password,
      protocolVersion: 4,
      clean: true,
      reconnectPeriod: 0,
      resubscribe: false,
      connectTimeout: CONNECT_TIMEOUT,
      keepalive: KEEP_ALIVE,
      timerVariant: "native", // others need a worker out of a blob, which the Content-Security-Policy forbids
    });
    this.#client = client;
    client.on("connect", () => {
      if (!mine()) return;
      this.since = Date.now();
      this.denied = [];
      this.granted = 0;
      this.#become("connected", "");
      for (const filter of this.#filters) this.#subscribe(client, filter, mine);
    });
    client.on("message", (topic, payload, packet) => {
      if (mine()) this.#onMessage(topic, payload, packet.retain);
    });
    client.on("error", (error) => {
      const why = REFUSALS.get(error.code);
      if (mine() && why) this.#refused(`the broker refuses the connection: ${why}`, OF_CREDENTIALS.includes(error.code));
    });
    client.on("close", () => {
      if (mine()) this.#lost();
    });
  }

  // One by one, so that the broker says of each whether it is granted.
  #subscribe(client, filter, mine) {
    client.subscribe(filter, { qos: 1 }, (error) => {
      if (!mine() || !client.connected) return;
      if (error) this.denied = [...this.denied, filter];
      else this.granted += 1;
      this.#onChange();
    });
  }

  #refused(why, forWhoItIs) {
    this.#end();
    this.forWhoItIs = forWhoItIs;
    this.#become("refused", why);
  }

  #lost() {
    const lived = this.since === null ? null : Date.now() - this.since;
    this.#end();
    this.#shortOnes = lived !== null && lived < SHORT ? this.#shortOnes + 1 : 0;
    if (lived !== null && lived > SETTLED) this.#pause = FIRST_PAUSE;
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.retryAt = Date.now() + pause;
    this.#timer = setTimeout(() => this.start(), pause);
    this.#become("waiting", lived === null ? "unreachable" : this.#shortOnes > 1 ? "closed at once" : "closed");
  }

  #end() {
    this.#attempt += 1;
    const client = this.#client;
    this.#client = null;
    this.since = null;
    client?.on("error", () => {}); // of what is still under way
    client?.end(true);
  }

  #become(phase, reason) {
    this.phase = phase;
    this.reason = reason;
    if (phase !== "waiting") this.retryAt = null;
    this.#onChange();
  }
}
