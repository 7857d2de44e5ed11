// How the page proves itself to the broker, by the configuration's signIn: what it asks a person for, and what it makes
// of that for each connection. What was typed stays in the memory of this tab.
import { signedAddress } from "./aws.js";

const field = (name, label, type = "password", required = true) => ({ name, label, type, required });

export const WAYS = {
  none: { fields: [], open: async (config) => ({ address: config.broker }) },
  password: {
    fields: [field("username", "User name", "text"), field("password", "Password")],
    open: async (config, { username, password }) => ({ address: config.broker, username, password }),
  },
  aws: {
    fields: [
      field("accessKeyId", "Access key id", "text"),
      field("secretAccessKey", "Secret access key"),
      field("sessionToken", "Session token"),
    ],
    open: async (config, typed) => ({ address: await signedAddress(config.broker, config.region, typed, new Date()) }),
  },
  // The name travels in the address, the token in MQTT's password: addresses are written into logs.
  authorizer: {
    fields: [field("username", "User name, if the authorizer wants one", "text", false), field("password", "Token")],
    open: async (config, { username, password }) => {
      const named = config.authorizer ? `?x-amz-customauthorizer-name=${encodeURIComponent(config.authorizer)}` : "";
      return { address: `${config.broker}${named}`, username: username || "page", password };
    },
  },
};
