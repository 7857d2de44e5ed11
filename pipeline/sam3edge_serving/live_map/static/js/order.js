// The orders in which devices and cameras stand, the same everywhere: by name, line-2 before line-10.
const { compare } = new Intl.Collator(undefined, { numeric: true });

const plainly = (one, other) => (one < other ? -1 : Number(one > other));

export const byName = (one, other) => compare(one.name, other.name) || plainly(one.key, other.key);

// Cameras, by their devices and then their own names.
export const byPlace = (one, other) =>
  byName(one.device, other.device) || compare(one.source, other.source) || plainly(one.source, other.source);
