// The address of AWS IoT Core for one connection, signed with temporary credentials: Signature Version 4 in the query
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html). The session token is not signed but
// added afterwards, IoT Core's own rule (https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html).
const SERVICE = "iotdevicegateway";
const EMPTY_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; // its SHA-256
const encoder = new TextEncoder();

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

const sha256 = async (text) => hex(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

async function hmac(key, text) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, encoder.encode(text)));
}

// As RFC 3986 wants it; encodeURIComponent leaves five characters more.
const encoded = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

// credentials: { accessKeyId, secretAccessKey, sessionToken }; now: a Date.
export async function signedAddress(broker, region, credentials, now) {
  const address = new URL(broker);
  const stamp = now.toISOString().replace(/[-:]|\.\d{3}/g, "");
  const day = stamp.slice(0, 8);
  const scope = `${day}/${region}/${SERVICE}/aws4_request`;
  const query = Object.entries({
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": `${credentials.accessKeyId}/${scope}`,
    "X-Amz-Date": stamp,
    "X-Amz-SignedHeaders": "host",
  })
    .map(([name, value]) => `${name}=${encoded(value)}`)
    .join("&");
  const request = ["GET", address.pathname, query, `host:${address.host}`, "", "host", EMPTY_BODY].join("\n");
  const text = ["AWS4-HMAC-SHA256", stamp, scope, await sha256(request)].join("\n");
  let key = encoder.encode(`AWS4${credentials.secretAccessKey}`);
  for (const part of [day, region, SERVICE, "aws4_request"]) key = await hmac(key, part);
  const token = credentials.sessionToken ? `&X-Amz-Security-Token=${encoded(credentials.sessionToken)}` : "";
  return `${broker}?${query}&X-Amz-Signature=${hex(await hmac(key, text))}${token}`;
}
