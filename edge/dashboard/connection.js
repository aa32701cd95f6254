/* The link to the broker: MQTT 5 over websockets, reconnecting for ever. It opens at once, while the rest still loads. */
"use strict";

class Connection {
  static MAX_PACKET_BYTES = 256 * 1024;
  static RETRY_MS = 2000;
  /* Timelines, which are large, are asked for one by one (timelines.js). */
  static TOPICS = { status: 1, listening: 1, state: 0, health: 0, event: 1, lessons: 1 };
  /* CONNACK codes of MQTT 3 and 5 that a user name and password may cure. */
  static REFUSED = new Set([4, 5, 134, 135, 140]);

  constructor(url, socket) {
    this.url = url;
    this._socket = socket; // opened before MQTT.js was there (address.js); for the first link only
    this.link = { state: "connecting", detail: "" }; // or up, down, refused
    this._client = null;
    this._credentials = {};
    this._onLink = () => {};
    this._onMessage = null;
    this._early = [];
  }

  get signedIn() {
    return this._credentials.username !== undefined;
  }

  /* Calls onLink({state, detail}) and onMessage(topic, bytes, retained) from now on, and for what came before. */
  listen(onLink, onMessage) {
    this._onLink = onLink;
    this._onMessage = onMessage;
    onLink(this.link);
    for (const message of this._early.splice(0)) onMessage(...message);
  }

  /* Opens the link, with a user name and password kept in memory only. */
  open(credentials = {}) {
    this._credentials = credentials;
    this._client?.end(true);
    this._tell("connecting", "");
    const properties = { maximumPacketSize: Connection.MAX_PACKET_BYTES };
    let client;
    try {
      client = mqtt.connect(this.url, this._options(properties));
    } catch (error) {
      this._tell("down", error.message); // a page over https may not open ws://
      return;
    }
    this._client = client;
    client.on("connect", () => {
      properties.maximumPacketSize = Connection.MAX_PACKET_BYTES + 1024;
      const topics = Object.entries(Connection.TOPICS).map(([kind, qos]) => [`roomtone/+/${kind}`, { qos }]);
      client.subscribe(Object.fromEntries(topics));
      this._tell("up", "");
    });
    client.on("message", (topic, bytes, packet) => this._take([topic, bytes, packet.retain]));
    client.on("error", (error) => this._failed(client, error));
    client.on("close", () => {
      if (client === this._client && this.link.state !== "refused") this._tell("down", "");
    });
  }

  subscribe(topic) {
    this._client.subscribe(topic, { qos: 0 });
  }

  unsubscribe(topic) {
    this._client.unsubscribe(topic);
  }

  /* Publishes a command on one of a sensor's topics, QoS 1, not retained. Rejects with an Error where the broker does not
   * take it. */
  command(device, name, text) {
    if (this.link.state !== "up") return Promise.reject(new Error("there is no link to the broker"));
    return new Promise((resolve, reject) => {
      this._client.publish(`roomtone/${device}/${name}`, text, { qos: 1, retain: false }, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  _options(properties) {
    return {
      protocolVersion: 5,
      clean: true,
      resubscribe: false, // done on every connect
      keepalive: 30,
      connectTimeout: 10_000,
      reconnectPeriod: Connection.RETRY_MS * (1 + Math.random() / 2),
      queueQoSZero: false,
      createWebsocket: (url, protocols) => this._socketFor(url, protocols),
      timerVariant: "native", // the other one makes workers from blobs, which the page's policy forbids
      properties,
      /* mosquitto lets packets pass that are one byte over the limit, and MQTT.js drops the link over them: one
       * message of just that size would keep every page away. So the limit announced is below the one enforced. */
      transformWsUrl: (url) => {
        properties.maximumPacketSize = Connection.MAX_PACKET_BYTES;
        return url;
      },
      ...this._credentials,
    };
  }

  _socketFor(url, protocols) {
    const early = this._socket;
    this._socket = null;
    return early !== null && early.readyState <= WebSocket.OPEN ? early : new WebSocket(url, protocols);
  }

  _take(message) {
    if (this._onMessage === null) this._early.push(message);
    else this._onMessage(...message);
  }

  _failed(client, error) {
    if (client !== this._client) return;
    if (!Connection.REFUSED.has(error.code)) {
      this._tell("down", error.code ? error.message : "");
      return;
    }
    client.end(true);
    this._tell("refused", this.signedIn ? "The broker does not accept this name and password." : "");
  }

  _tell(state, detail) {
    this.link = { state, detail };
    this._onLink(this.link);
  }
}

/* The page's own connection; `problem` says in words why there can be none. */
const broker = { connection: null, problem: address.problem };
if (address.url !== null) {
  broker.connection = new Connection(address.url, address.socket);
  broker.connection.open();
}
