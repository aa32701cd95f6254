/* Where the broker is, and a first websocket to it: it opens while MQTT.js, ten times larger than all else, still loads. */
"use strict";

const address = { urls: [], problem: "", socket: null }; // `problem` says in words why there is no address

/* Returns the address from each `?broker=`, the first before its standby, else `mqtt` beside the page, which may lie below
 * a proxy's path. Throws an Error in words. */
function brokerAddresses(location) {
  const named = new URLSearchParams(location.search).getAll("broker");
  if (named.length === 0 && !location.host) throw new Error("this page has no host; name a broker with ?broker=wss://…");
  const beside = location.pathname.replace(/[^/]*$/, "mqtt");
  const own = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${beside}`;
  return (named.length === 0 ? [own] : named).map(checkedAddress);
}

function checkedAddress(named) {
  let url;
  try {
    url = new URL(named);
  } catch {
    throw new Error("?broker= is not an address; it looks like wss://host:8084/mqtt");
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new Error("?broker= must begin with ws:// or wss://");
  if (url.username || url.password) throw new Error("no password in the address; the page asks for it");
  url.hash = "";
  return url.href;
}

try {
  address.urls = brokerAddresses(location);
} catch (error) {
  address.problem = error.message;
}
try {
  if (address.urls.length > 0) address.socket = new WebSocket(address.urls[0], "mqtt");
} catch {
  // A page over https may not open ws://: the link will say so.
}
