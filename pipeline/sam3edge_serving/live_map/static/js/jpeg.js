// A JPEG in base64, and how large it becomes when it is decoded: a few hundred bytes may declare gigabytes of pixels.
import { LIMITS } from "./limits.js";
import { NotOurs } from "./reading.js";

const START = 0xd8, // second bytes of markers (ITU-T T.81, table B.1)
  FRAMES = [0xc0, 0xcf], // of frames, from and to, but for
  TABLES = [0xc4, 0xc8, 0xcc]; // tables and an extension
const ALONE = (marker) => marker <= 0x01 || (marker >= 0xd0 && marker <= 0xda); // without a length, or of a scan

// As a Blob; a text that is no JPEG, or one of too many pixels, is not ours.
export function jpeg(written) {
  let decoded;
  try {
    decoded = atob(written);
  } catch {
    throw new NotOurs("expected the image in base64");
  }
  const bytes = Uint8Array.from(decoded, (character) => character.charCodeAt(0));
  const [width, height] = sizeOf(bytes);
  if (!(width >= 1 && height >= 1 && width * height <= LIMITS.picturePixels))
    throw new NotOurs(`expected a picture of 1 to ${LIMITS.picturePixels} pixels, got ${width} x ${height}`);
  return new Blob([bytes], { type: "image/jpeg" });
}

// [width, height] that the first frame's header declares: decoders refuse a second one.
function sizeOf(bytes) {
  const view = new DataView(bytes.buffer);
  let at = 2;
  if (bytes[0] === 0xff && bytes[1] === START) {
    while (at + 9 <= bytes.length && bytes[at] === 0xff) {
      const marker = bytes[at + 1];
      if (marker === 0xff) {
        at += 1; // any number of them may fill the space before a marker
        continue;
      }
      if (ALONE(marker)) break;
      if (marker >= FRAMES[0] && marker <= FRAMES[1] && !TABLES.includes(marker))
        return [view.getUint16(at + 7), view.getUint16(at + 5)];
      at += 2 + view.getUint16(at + 2);
    }
  }
  throw new NotOurs("expected a JPEG");
}
