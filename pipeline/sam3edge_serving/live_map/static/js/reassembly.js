// Messages in any order, repeated or not, to frames, each once: the rule of infra/examples/subscriber.py.
import { LIMITS } from "./limits.js";
import { NotOurs } from "./reading.js";

const PATIENCE = 60_000; // milliseconds, after which the missing parts of a frame are not expected any more
const MAX_PIECES = 512; // messages of one part, as in sam3edge.subscriber.reassembly
const MAX_COMMON = 2 ** 39; // denominator: with it, sums over all parts are exact numbers

function gcd(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}

// Whether a share of a part, piece of pieces, lies in another.
function within(one, other) {
  return (
    other.piece * one.pieces <= one.piece * other.pieces &&
    (one.piece + 1) * other.pieces <= (other.piece + 1) * one.pieces
  );
}

// What has come of a frame: messages by part, and by which share of it they are.
class Parts {
  constructor(device, count) {
    this.device = device;
    this.count = count;
    this.there = new Map(); // messages by index
    this.sum = 0; // of the shares that are there, in parts of common
    this.common = 1;
    this.bytes = 0;
    this.heard = null; // when the last of them came that was not retained
  }

  // A part that a nucleus refused for its size comes in pieces, and these perhaps in pieces again: 0 of 2, 2 of 4 and
  // 3 of 4 are a whole. What came before as a whole, or in larger pieces, is not taken twice.
  add(message) {
    const { index, pieces } = message.part;
    const there = this.there.get(index) ?? [];
    if (there.some((one) => within(message.part, one.part))) return;
    const [inner, others] = [true, false].map((is) => there.filter((one) => within(one.part, message.part) === is));
    if (others.length >= MAX_PIECES) throw new NotOurs(`a part in more than ${MAX_PIECES} pieces`);
    const common = (this.common / gcd(this.common, pieces)) * pieces;
    if (common > MAX_COMMON) throw new NotOurs("pieces that were never of one part");
    this.sum = (this.sum / this.common) * common;
    this.common = common;
    for (const one of inner) this.#count(one, -1);
    this.#count(message, 1);
    this.there.set(index, [...others, message]);
  }

  complete() {
    return this.sum === this.count * this.common;
  }

  ordered() {
    const indices = [...this.there.keys()].sort((one, other) => one - other);
    const start = ({ part }) => part.piece / part.pieces;
    return indices.flatMap((index) => this.there.get(index).sort((one, other) => start(one) - start(other)));
  }

  #count(message, sign) {
    this.sum += (sign * this.common) / message.part.pieces;
    this.bytes += sign * message.bytes;
  }
}

// The last keys that were added, up to a number.
export class Recent {
  #keys = new Set();
  #size;
  constructor(size) {
    this.#size = size;
  }
  get size() {
    return this.#keys.size;
  }
  has(key) {
    return this.#keys.has(key);
  }
  add(key) {
    this.#keys.add(key);
    if (this.#keys.size > this.#size) this.#keys.delete(this.#keys.values().next().value);
  }
}

export class Reassembly {
  #finished;
  #frames = new Map();
  #waitingFrames;
  #waitingBytes;
  bytes = 0; // of the parts that wait
  dropped = 0; // frames that made room for others before they were whole
  #droppedAt = -Infinity; // when that was last

  constructor({ remembered = LIMITS.rememberedIds, frames = LIMITS.waitingFrames, bytes = LIMITS.waitingBytes } = {}) {
    this.#finished = new Recent(remembered);
    this.#waitingFrames = frames;
    this.#waitingBytes = bytes;
  }

  get waiting() {
    return this.#frames.size;
  }

  // How many frames are not whole, and will hardly become it, of those that were heard of within so long. Of a retained
  // one there is the last message only, which is nobody's fault.
  incomplete(now, within) {
    const ages = [...this.#frames.values()].map(({ heard }) => (heard === null ? Infinity : now - heard));
    const late = ages.filter((age) => age > PATIENCE && age <= within).length;
    return late + (now - this.#droppedAt <= within ? this.dropped : 0);
  }

  // Take a message of detections that was not seen before. Gives the frame's messages, in order, when nothing of it is
  // missing any more, else null.
  take(message, now, retained = false) {
    const device = JSON.stringify([message.prefix, message.device]);
    const key = JSON.stringify([device, message.source, message.frame.id]);
    if (this.#finished.has(key)) return null;
    const parts = this.#frames.get(key) ?? new Parts(device, message.part.count);
    const before = parts.bytes;
    parts.add(message);
    if (!retained) parts.heard = now;
    this.#frames.set(key, parts);
    this.bytes += parts.bytes - before;
    if (!parts.complete()) {
      this.#makeRoom(now);
      return null;
    }
    this.#remove(key, parts);
    this.#finished.add(key);
    return parts.ordered();
  }

  #remove(key, parts) {
    this.#frames.delete(key);
    this.bytes -= parts.bytes;
  }

  #makeRoom(now) {
    while (this.#frames.size > this.#waitingFrames || this.bytes > this.#waitingBytes) {
      const whose = this.#greediest();
      const [key, parts] = [...this.#frames].find(([, { device }]) => device === whose);
      this.#remove(key, parts);
      this.dropped += 1;
      this.#droppedAt = now;
    }
  }

  // The device that takes most of what there is too much of: others lose nothing for it.
  #greediest() {
    const taken = new Map();
    for (const { device, bytes } of this.#frames.values()) {
      taken.set(device, (taken.get(device) ?? 0) + (this.bytes > this.#waitingBytes ? bytes : 1));
    }
    return [...taken].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
  }
}
