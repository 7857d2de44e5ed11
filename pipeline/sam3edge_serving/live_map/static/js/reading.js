// Reading what others have written: each value is of the kind that it must be, and bounded, or the message is not ours.
import { LIMITS } from "./limits.js";

// A message that no device of ours has written; the text says what was expected.
export class NotOurs extends Error {}

// Control characters, those that turn the direction of a text around, and others of no width are not shown.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;

// In a name, also all that could not be told from something else: other spaces than one between two words, characters
// that no font has, and the mark itself.
const MARK = "\u2423"; // ␣
const UNTOLD = /[\p{C}\p{Default_Ignorable_Code_Point}\u2800\u2423]|(?! )\p{Z}|^ | $| (?= )/gu;

export function object(value, what) {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw new NotOurs(`expected ${what} as an object`);
  return value;
}

export function list(value, what) {
  if (!Array.isArray(value)) throw new NotOurs(`expected ${what} as a list`);
  return value;
}

// A text, cut to length and with a space for what is not to be seen.
export function text(value, what, length = LIMITS.textLength) {
  if (typeof value !== "string") throw new NotOurs(`expected ${what} as a text`);
  const cut = value.length > length ? `${value.slice(0, length - 1)}…` : value;
  return cut.replace(UNSEEN, " ");
}

// A text by which things are told apart: what is too long is refused, not cut.
export function identity(value, what) {
  if (typeof value !== "string" || value.length === 0 || value.length > LIMITS.textLength) {
    throw new NotOurs(`expected ${what} as a text of 1 to ${LIMITS.textLength} characters`);
  }
  return value;
}

// An identity as it is shown: what is not to be seen is written as a mark and its code point, so that two that are not
// the same never look alike for it.
export const marked = (identity) =>
  identity.replace(UNTOLD, (one) => `${MARK}U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);

export function number(value, what, least = -Number.MAX_VALUE, most = Number.MAX_VALUE) {
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    throw new NotOurs(`expected ${what} as a number, ${least} to ${most}`);
  }
  return value;
}

export function whole(value, what, least = 0, most = Number.MAX_SAFE_INTEGER) {
  if (!Number.isInteger(number(value, what, least, most))) throw new NotOurs(`expected ${what} as a whole number`);
  return value;
}

// Milliseconds since 1970 of a time in RFC 3339, whatever the clock that it was taken from says.
export function moment(value, what) {
  const at = typeof value === "string" && value.length < 40 ? Date.parse(value) : NaN;
  if (!Number.isFinite(at)) throw new NotOurs(`expected ${what} as a time`);
  return at;
}

// The same of what has happened: not later than now.
export const past = (value, what, now) => Math.min(moment(value, what), now);

// The same for what may be absent.
export const optional = (read, value, ...rest) => (value === undefined || value === null ? null : read(value, ...rest));

export const texts = (value, what, most) =>
  list(value, what)
    .slice(0, most)
    .map((one) => text(one, what));
