// Times and numbers as people read them.
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

export const clock = (at) => TIME.format(at);

// When something was: the time of today, with its date for any other day.
export function when(at, now) {
  const [day, today] = [at, now].map((one) => DATE.format(one));
  return day === today ? clock(at) : `${day}, ${clock(at)}`;
}

export const counted = (count, one, several = `${one}s`) => `${count} ${count === 1 ? one : several}`;

// "3 × car, 1 × tree": labels of objects, counted, the most frequent first. They are anybody's phrases, without a plural.
export function tally(objects) {
  const counts = new Map();
  for (const { label } of objects) counts.set(label, (counts.get(label) ?? 0) + 1);
  const sorted = [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
  return sorted.map(([label, count]) => `${count} × ${label}`).join(", ") || "nothing found";
}
