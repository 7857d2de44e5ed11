// What is wrong, in words: the page says it instead of staying empty.
import { LIMITS } from "./limits.js";
import { WAYS } from "./signin.js";
import { counted, duration, when } from "./words.js";

const QUIET = 90_000; // milliseconds without a message, after which somebody should look at the prefix

const RECENT = 300_000; // milliseconds for which what was wrong with a single message is said

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
export function problems(config, connection, state, failures, now) {
  return [
    ...ofConnection(config, connection, now),
    ...ofMessages(config, connection, state, now),
    ...[...failures]
      .filter(([, { at }]) => now - at <= RECENT)
      .map(([part, { reason, at }]) => [
        `failure of ${part}`,
        `A part of the page failed: ${part}, last at ${when(at, now)}: ${reason}. The browser's console says more.`,
      ]),
  ];
}

function* ofConnection(config, connection, now) {
  if (connection.phase === "waiting") {
    yield [
      "connection",
      `${LOST[connection.reason](config.broker)} Next attempt in ${duration(connection.retryAt - now)}.`,
    ];
  }
  if (connection.phase === "refused") yield ["connection", refused(config, connection)];
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

// Why there is no connection, and what to do.
function refused(config, { reason, forWhoItIs }) {
  if (!forWhoItIs) return `There is no connection: ${reason}.`;
  if (WAYS[config.signIn].fields.length) return `Sign in again: ${reason}.`;
  return (
    `There is no connection: ${reason}. This page was started without a sign-in; start it again with ` +
    "--sign-in password if the broker wants a user name and a password."
  );
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
  const recent = (fault) => now - state.faultAt[fault] <= RECENT;
  if (recent("refused")) {
    const [topic, { reason, at }] = [...state.refusals].at(-1);
    yield [
      "refused",
      `${counted(state.refused, "message")} refused, not written as our devices do; the last on ${topic} at ` +
        `${when(at, now)}: ${reason}.`,
    ];
  }
  if (recent("evicted")) {
    yield [
      "evicted",
      `More than ${LIMITS.devices} devices, ${LIMITS.cameras} cameras, or ${LIMITS.sources} of one device: those that ` +
        "were silent for longest are not shown.",
    ];
  }
  yield* ofLateness(state, now);
  if (recent("spoilt")) {
    yield ["spoilt", `${counted(state.spoilt, "picture")} not shown: not a JPEG that can be decoded.`];
  }
  const incomplete = state.incomplete(now, RECENT);
  if (incomplete) yield ["incomplete", `${counted(incomplete, "frame")} not shown: parts did not come.`];
}

function* ofLateness(state, now) {
  const late = [...state.devices.values()]
    .map((device) => [device.lateness.grown(now), device])
    .filter(([grown]) => grown > 0)
    .sort(([one], [other]) => other - one);
  if (!late.length) return;
  const [[grown, { name }]] = late;
  yield [
    "late",
    `Messages of ${late.length === 1 ? name : `${late.length} devices`} come ever later, ${duration(grown)} by now: ` +
      "there are more than the broker passes on to this page, or than the device's own connection carries. Some " +
      "builds of mosquitto pass on 50 kB a second over WebSockets: docs/live-map.md, Your broker, says what helps.",
  ];
}
