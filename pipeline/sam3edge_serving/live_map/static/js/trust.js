// Trusted Types, where the browser has them: no text becomes markup or code on this page. Two of its own files are
// loaded by address: the map's worker, and the library of archives.
const OWN = ["vendor/maplibre-gl/maplibre-gl-worker.mjs", "vendor/pmtiles/pmtiles.js"].map(
  (path) => new URL(path, document.baseURI).href,
);

globalThis.trustedTypes?.createPolicy("default", {
  createScriptURL(text) {
    const address = new URL(text, document.baseURI);
    if (OWN.includes(address.origin + address.pathname)) return text;
    throw new TypeError(`not a file of this page: ${address.href}`);
  },
});
