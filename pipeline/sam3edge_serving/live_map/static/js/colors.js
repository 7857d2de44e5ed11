// A colour for each label, the same everywhere and at every visit.
const GOLDEN = 137.508; // degrees: hues of neighbouring numbers lie far apart

function number(text) {
  let hash = 2166136261; // FNV-1a
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
  return hash >>> 0;
}

export function colorOf(label) {
  const seed = number(label);
  return `hsl(${Math.round((seed % 360) * GOLDEN) % 360} 90% ${60 + (seed >>> 16) % 12}%)`;
}

// The same for lines on the page's own background.
export function inkOf(label, dark) {
  const hue = Math.round((number(label) % 360) * GOLDEN) % 360;
  return `hsl(${hue} ${dark ? "85% 68%" : "80% 36%"})`;
}
