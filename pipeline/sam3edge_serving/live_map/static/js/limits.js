// Bounds, all of them: whoever may publish to the broker may try to fill this page. What is beyond them is counted and
// said.
export const LIMITS = Object.freeze({
  payloadBytes: 512 * 1024, // of a message; AWS IoT Core carries 128 KiB
  textLength: 200, // characters of a label, a name, a phrase; longer ones are cut
  reasonLength: 1000, // of an error or a reason
  objects: 2000, // of a frame
  vertices: 50_000, // of a frame's outlines, and of its outlines on Earth
  named: 60, // objects of a frame whose label is written beside the outline, best scores first
  colors: 500, // labels that have one
  labels: 8, // of a chart; what else there is is shown as "others"
  countedLabels: 16, // of a camera, each by itself
  bins: 3600, // of a chart, a second each
  devices: 200, // those that were heard last
  cameras: 200, // of all devices, likewise
  sources: 16, // cameras of one device, likewise: those of others stay
  keptVertices: 2_000_000, // of the last frames of all cameras
  pictureBytes: 32 * 1024 * 1024, // of all cameras
  picturePixels: 1 << 22, // of one, of which each takes 4 bytes once it is decoded; devices send 1280 x 1280 at most
  trailFrames: 500, // frames with places that the map may show
  trailVertices: 200_000,
  prompts: 256, // of a device
  rows: 200, // errors, and events
  commands: 50,
  refusals: 20, // topics of messages that are not ours
  rememberedIds: 20_000,
  waitingFrames: 200, // frames of which parts are missing
  waitingBytes: 32 * 1024 * 1024,
  parts: 10_000, // of a frame, and pieces of a part
  pieces: 1_000_000,
});
