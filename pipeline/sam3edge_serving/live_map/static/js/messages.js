// What devices publish (docs/messages.md), as values that the page may keep and draw. Everything is checked and
// bounded; what is not as a device of ours writes it raises NotOurs.
import { LIMITS } from "./limits.js";
import { boundsOf, pixelPolygons, verticesOf, worldPolygons } from "./geometry.js";
import { jpeg } from "./jpeg.js";
import { NotOurs, identity, list, moment, number, object, optional, past, text, texts, whole } from "./reading.js";

const READERS = {
  detections,
  events,
  errors,
  status,
  "status/model": modelStatus,
  "status/uploader": uploaderStatus,
  "commands/response": response,
  snapshots,
  availability: null,
};

// What follows the prefix of the topics that the page listens to.
export const TOPICS = Object.freeze(Object.keys(READERS));

const VERSION = /^1\.\d+$/; // of the schema: another major version is another message

const WHOSE = "sam3edge/"; // what is before the device's name in topics, unless its TopicPrefix says something else

// The topic's prefix and what follows it.
export function split(topic) {
  const name = TOPICS.filter((one) => topic.endsWith(`/${one}`)).sort((one, other) => other.length - one.length)[0];
  if (!name) throw new NotOurs("expected one of our topics");
  return { prefix: topic.slice(0, -name.length - 1), name };
}

// A message: topic, payload as Uint8Array, and when it came, in milliseconds since 1970. But for sentAt, its times are
// never later than that, whatever the device's clock says. Below sam3edge/ the topic says which device may publish
// there, and another's name in the message is refused (as in sam3edge/subscriber/reading.py).
export function read(topic, payload, now) {
  const { prefix, name } = split(topic);
  if (payload.length > LIMITS.payloadBytes) throw new NotOurs(`expected at most ${LIMITS.payloadBytes} bytes`);
  const written = new TextDecoder().decode(payload);
  if (name === "availability") return { kind: name, prefix, available: availability(written) };
  const body = object(parse(written), "a message");
  if (!VERSION.test(text(body.schema_version, "schema_version", 16)))
    throw new NotOurs(`expected schema_version 1, got ${text(body.schema_version, "schema_version", 16)}`);
  const head = {
    kind: name,
    prefix,
    bytes: payload.length,
    id: identity(body.id, "id"),
    device: identity(body.device, "device"),
    sentAt: moment(body.time, "time"),
  };
  if (prefix.startsWith(WHOSE) && prefix.split("/")[1] !== head.device)
    throw new NotOurs("expected the name of the device whose topic it is, got another one's");
  return { ...head, time: Math.min(head.sentAt, now), ...READERS[name](body, now) };
}

function parse(written) {
  try {
    return JSON.parse(written);
  } catch {
    throw new NotOurs("expected JSON");
  }
}

// As Frigate and Home Assistant write it.
function availability(written) {
  if (written !== "online" && written !== "offline") throw new NotOurs("expected online or offline");
  return written === "online";
}

function detections(body, now) {
  const frame = object(body.frame, "frame"),
    part = object(body.part, "part");
  const pieces = optional(whole, part.pieces, "pieces", 1, LIMITS.pieces) ?? 1;
  const count = whole(part.count, "count", 1, LIMITS.parts);
  const budget = { vertices: LIMITS.vertices },
    worldBudget = { vertices: LIMITS.vertices };
  const features = list(body.features, "features");
  const objects = features.slice(0, LIMITS.objects).map((feature) => outlined(feature, budget, worldBudget));
  return {
    source: text(body.source, "source"),
    frame: {
      id: identity(frame.id, "frame.id"),
      name: text(frame.name, "frame.name"),
      capturedAt: past(frame.captured_at, "captured_at", now),
      width: whole(frame.width, "width", 1, 1_000_000),
      height: whole(frame.height, "height", 1, 1_000_000),
    },
    model: optional(model, body.model),
    by: body.origin?.by === "cloud" ? "cloud" : "device",
    unsupported: Object.keys(object(body.unsupported_prompts ?? {}, "unsupported_prompts"))
      .slice(0, LIMITS.prompts)
      .map((one) => text(one, "a phrase")),
    part: {
      index: whole(part.index, "index", 0, count - 1),
      count,
      piece: optional(whole, part.piece, "piece", 0, pieces - 1) ?? 0,
      pieces,
    },
    objects: objects.filter((one) => one !== null),
    omitted: features.length - objects.filter((one) => one !== null).length,
  };
}

// One object with its outline; null where that cannot be drawn. Where only its place is wrong, it has none.
function outlined(feature, budget, worldBudget) {
  try {
    const properties = object(object(feature, "a feature").properties, "properties");
    const shape = pixelPolygons(properties.imageGeometry, budget);
    return {
      label: text(properties.label, "label"),
      prompt: text(properties.prompt ?? properties.label, "prompt"),
      score: number(properties.score, "score", 0, 1),
      zones: texts(properties.zones ?? [], "zones", 16),
      track: optional(text, properties.track_id, "track_id", 64),
      coarse: properties.geometry_quality === "hull",
      shape,
      bounds: boundsOf(shape),
      vertices: verticesOf(shape),
      place: place(feature, properties, worldBudget),
    };
  } catch (error) {
    if (error instanceof NotOurs) return null;
    throw error;
  }
}

function place(feature, properties, budget) {
  if (feature.geometry === null || feature.geometry === undefined) return null;
  try {
    const shape = worldPolygons(feature.geometry, budget);
    return {
      shape,
      bounds: boundsOf(shape),
      vertices: verticesOf(shape),
      squareMetres: optional(number, properties.area_m2, "area_m2", 0),
      accuracy: optional(number, properties.accuracy_m, "accuracy_m", 0),
    };
  } catch (error) {
    if (error instanceof NotOurs) return null;
    throw error;
  }
}

function model(body) {
  const { name, version, precision, provider } = object(body, "model");
  return {
    name: text(name, "name"),
    version: text(version, "version"),
    precision: text(precision, "precision"),
    provider: text(provider, "provider"),
  };
}

function status(body) {
  const counts = object(body.counts, "counts"),
    delivery = object(body.delivery, "delivery");
  const prompts = list(body.prompts, "prompts")
    .slice(0, LIMITS.prompts)
    .map((one) => ({
      text: text(object(one, "a prompt").text, "text"),
      label: text(one.label, "label"),
      threshold: number(one.threshold, "threshold", 0, 1),
      minArea: optional(number, one.min_area, "min_area", 0) ?? 0,
    }));
  return {
    state: text(body.state, "state"),
    model: optional(model, body.model),
    prompts,
    promptCount: whole(body.prompt_count, "prompt_count"),
    uptime: number(body.uptime_s, "uptime_s", 0),
    interval: optional(number, body.heartbeat_seconds, "heartbeat_seconds", 0.1, 86_400),
    framesPerSecond: number(body.frames_per_second, "frames_per_second", 0),
    frames: whole(counts.frames, "frames"),
    instances: whole(counts.instances, "instances"),
    rejected: whole(counts.rejected, "rejected"),
    backlog: optional(whole, body.source?.backlog, "backlog") ?? 0,
    queued: whole(delivery.queued, "queued"),
    oldest: optional(number, delivery.oldest_age_s, "oldest_age_s") ?? 0,
    lastError: text(body.last_error, "last_error", LIMITS.reasonLength),
    georeference: optional(georeference, body.georeference),
    tracks: optional(whole, body.tracking?.tracks, "tracks"),
    alarms:
      optional(list, body.drift?.alarms, "alarms")
        ?.slice(0, 4)
        .map((one) => ({
          source: text(object(one, "an alarm").source, "source"),
          prompt: text(one.prompt, "prompt"),
          metric: text(one.metric, "metric"),
        })) ?? [],
  };
}

function georeference(body) {
  return { state: text(object(body, "georeference").state, "state"), reason: text(body.reason, "reason") };
}

function modelStatus(body) {
  return { model: model(body.model) };
}

function uploaderStatus(body) {
  const examples = object(body.examples, "examples");
  return {
    state: text(body.state, "state"),
    waiting: whole(examples.waiting, "waiting"),
    uploaded: whole(examples.uploaded, "uploaded"),
    lastError: text(body.last_error, "last_error", LIMITS.reasonLength),
  };
}

function errors(body) {
  return {
    about: text(body.kind, "kind"),
    name: optional(text, body.frame?.name ?? body.error, "name") ?? "",
    reason: text(body.reason, "reason", LIMITS.reasonLength),
  };
}

function events(body, now) {
  const source = text(body.source, "source"),
    at = past(body.event_time, "event_time", now);
  if (body.message_type === "counts") {
    const rows = (value, what, names) =>
      list(value, what)
        .slice(0, LIMITS.prompts)
        .map((one) =>
          Object.fromEntries(
            names.map((name) => [
              name,
              typeof object(one, what)[name] === "number" ? whole(one[name], name) : text(one[name], name),
            ]),
          ),
        );
    return {
      source,
      at,
      counts: {
        objects: rows(body.objects, "objects", ["label", "current", "total"]),
        zones: rows(body.zones, "zones", ["zone", "label", "current", "entered"]),
        lines: rows(body.lines, "lines", ["line", "label", "forward", "backward"]),
      },
    };
  }
  const after = object(body.after, "after");
  return {
    source,
    at,
    event: {
      type: text(body.type, "type"),
      reasons: list(body.reasons, "reasons")
        .slice(0, 16)
        .map((one) => ({
          kind: text(object(one, "a reason").kind, "kind"),
          name: optional(text, one.name, "name") ?? "",
          direction: optional(text, one.direction, "direction") ?? "",
        })),
      track: text(after.id, "after.id"),
      label: text(after.label, "after.label"),
      zones: texts(after.current_zones, "current_zones", 16),
    },
  };
}

function response(body) {
  const command = object(body.command, "command");
  return {
    command: text(command.id, "command.id"),
    name: text(command.name, "command.name"),
    status: text(body.status, "status", 20),
    reason: optional(text, body.reason, "reason", LIMITS.reasonLength) ?? "",
  };
}

function snapshots(body) {
  if (body.media_type !== "image/jpeg") throw new NotOurs("expected image/jpeg");
  const frame = object(body.frame, "frame");
  return {
    request: text(body.request, "request"),
    frame: { id: identity(frame.id, "frame.id"), name: text(frame.name, "frame.name") },
    jpeg: jpeg(body.image),
  };
}
