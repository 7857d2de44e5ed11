// Trusted Types, where the browser has them: no text becomes markup or code on this page. The one address that a library
// makes a worker of is the map's own.
globalThis.trustedTypes?.createPolicy("default", {
  createScriptURL(text) {
    const address = new URL(text, location.href);
    if (address.origin === location.origin && address.pathname.endsWith("/vendor/maplibre-gl/maplibre-gl-worker.mjs")) {
      return text;
    }
    throw new TypeError(`not a worker of this page: ${address.href}`);
  },
});
