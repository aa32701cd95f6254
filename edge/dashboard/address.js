/* Where the broker is, and a first websocket to it: it opens while MQTT.js, ten times larger than all else, still loads. */
"use strict";

const address = { url: null, problem: "", socket: null }; // `problem` says in words why there is no address

/* Returns the address from `?broker=`, else the page's own host and port. Throws an Error in words. */
function brokerAddress(location) {
  const named = new URLSearchParams(location.search).get("broker");
  if (named === null && !location.host) throw new Error("this page has no host; name a broker with ?broker=wss://…");
  const own = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/mqtt`;
  let url;
  try {
    url = new URL(named ?? own);
  } catch {
    throw new Error("?broker= is not an address; it looks like wss://host:8084/mqtt");
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new Error("?broker= must begin with ws:// or wss://");
  if (url.username || url.password) throw new Error("no password in the address; the page asks for it");
  url.hash = "";
  return url.href;
}

try {
  address.url = brokerAddress(location);
} catch (error) {
  address.problem = error.message;
}
try {
  if (address.url !== null) address.socket = new WebSocket(address.url, "mqtt");
} catch {
  // A page over https may not open ws://: the link will say so.
}
