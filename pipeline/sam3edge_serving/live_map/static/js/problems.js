// What is wrong, in words: the page says it instead of staying empty.
import { LIMITS } from "./limits.js";
import { clock, counted, duration } from "./words.js";

const QUIET = 90_000; // milliseconds without a message, after which somebody should look at the prefix

const LOST = {
  unreachable: (broker) =>
    `The broker at ${broker} is not reached: it may be down, have no WebSocket listener there, or a ` +
    "certificate that this browser does not trust, or refuse this page's address or credentials. Browsers do not say " +
    "which.",
  closed: () => "The connection to the broker was lost.",
  "closed at once": () =>
    "The broker takes the connection and closes it at once. AWS IoT Core does so where a right is missing " +
    "(iot:Connect for this client, iot:Subscribe, iot:Receive or iot:Publish), others where a client of " +
    "the same name connects.",
};

// [key, text] of each problem.
export function problems(config, connection, state, now) {
  return [...ofConnection(config, connection, now), ...ofMessages(config, connection, state, now)];
}

function* ofConnection(config, connection, now) {
  if (connection.phase === "waiting") {
    yield [
      "connection",
      `${LOST[connection.reason](config.broker)} Next attempt in ${duration(connection.retryAt - now)}.`,
    ];
  }
  if (connection.phase === "refused") yield ["connection", `Sign in again: ${connection.reason}.`];
  if (connection.denied.length) {
    yield [
      "rights",
      `The broker does not grant ${connection.denied.join(", ")}: what is published there is not shown.`,
    ];
  }
  if (
    config.broker.startsWith("ws:") &&
    config.signIn !== "none" &&
    !/^ws:\/\/(127\.0\.0\.1|localhost)[:/]/.test(`${config.broker}/`)
  ) {
    yield [
      "plain",
      "The connection to the broker is not encrypted: whoever is between can read the password. Use wss://.",
    ];
  }
}

function* ofMessages(config, connection, state, now) {
  if (connection.phase === "connected" && state.messages === 0 && now - connection.since > QUIET) {
    yield [
      "quiet",
      `Nothing has come below ${config.prefixes.join(", ")} for ${duration(now - connection.since)}. Devices send a ` +
        "heartbeat every 30 s by default: is this the prefix that they publish below (TopicPrefix), and the right " +
        "broker?",
    ];
  }
  if (state.refused) {
    const [topic, { reason, at }] = [...state.refusals].at(-1);
    yield [
      "refused",
      `${counted(state.refused, "message")} not as a device of ours writes them; the last on ${topic} at ` +
        `${clock(at)}: ${reason}.`,
    ];
  }
  if (state.evicted) {
    yield [
      "evicted",
      `More than ${LIMITS.devices} devices or ${LIMITS.cameras} cameras: those that were silent for longest are not ` +
        "shown.",
    ];
  }
  if (state.incomplete)
    yield ["incomplete", `${counted(state.incomplete, "frame")} not shown: parts of them did not come.`];
}
