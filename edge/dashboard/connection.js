/* The link to the broker: MQTT 5 over websockets, reconnecting for ever. It opens at once, while the rest still loads. */
"use strict";

class Connection {
  static MAX_PACKET_BYTES = 256 * 1024;
  static RETRY_MS = 2000;
  /* Timelines, which are large, are asked for one by one (timelines.js). */
  static TOPICS = { status: 1, listening: 1, state: 0, health: 0, event: 1, lessons: 1, settings: 1, model: 1 };
  /* Whether somebody keeps a history, and where it answers (history.js). */
  static RECORDER = "roomtone/history/recorder";
  static ANSWERS = "roomtone/history/answer/";
  static ANSWER_WITHIN_MS = 10_000;
  /* Of two brokers: a link that lasted so long was not part of the trouble; for so long the first must hold before it is
   * used again, and longer where it did not last. */
  static STABLE_MS = 10_000;
  static RETURN_MS = 10_000;
  static LONGEST_RETURN_MS = 3_600_000;
  /* CONNACK codes of MQTT 3 and 5 that a user name and password may cure. */
  static REFUSED = new Set([4, 5, 134, 135, 140]);

  constructor(urls, socket) {
    this._urls = urls;
    this._at = 0; // which of them is used
    this._upAtMs = null;
    this._backAtMs = -Infinity;
    this._returnMs = 0; // 0: RETURN_MS
    this._probe = null; // of the first, while the second is used
    this._probing = 0; // a timer
    this._socket = socket; // opened before MQTT.js was there (address.js); for the first link only
    this.link = { state: "connecting", detail: "" }; // or up, down, refused
    this.denied = false; // whether the broker kept this name from something
    this._client = null;
    this._credentials = {};
    this._onLink = () => {};
    this._onMessage = null;
    this._early = [];
    this.recorder = ""; // or online, offline
    this._own = Connection.ANSWERS + Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16)).join("");
    this._asked = new Map(); // what to do with an answer, by the mark of its question
    this._questions = 0;
  }

  get url() {
    return this._urls[this._at];
  }

  get signedIn() {
    return this._credentials.username !== undefined;
  }

  /* Calls onLink({state, detail}) and onMessage(topic, bytes, retained, stamp) from now on, and for what came before. */
  listen(onLink, onMessage) {
    this._onLink = onLink;
    this._onMessage = onMessage;
    onLink(this.link);
    for (const message of this._early.splice(0)) onMessage(...message);
  }

  /* Opens the link, with a user name and password kept in memory only. */
  open(credentials = {}) {
    this._credentials = credentials;
    this.denied = false;
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
      client.subscribe(Object.fromEntries([...topics, [Connection.RECORDER, { qos: 1 }], [this._own, { qos: 0 }]]));
      this._upAtMs = Date.now();
      this._lookBack();
      this._tell("up", "");
    });
    client.on("message", (topic, bytes, packet) => {
      if (topic === Connection.RECORDER) this.recorder = new TextDecoder().decode(bytes.subarray(0, 16));
      else if (topic === this._own) this._asked.get(String(packet.properties?.correlationData))?.(bytes);
      else this._take([topic, bytes, packet.retain, packet.properties?.userProperties?.ts]);
    });
    client.on("error", (error) => this._failed(client, error));
    client.on("close", () => {
      if (client !== this._client || this.link.state === "refused") return;
      this._moveOn(Date.now());
      this._tell("down", "");
    });
  }

  /* Says where the next attempt goes: the same again after a link that lasted, else the next broker. */
  _moveOn(nowMs) {
    const lasted = this._upAtMs !== null && nowMs - this._upAtMs > Connection.STABLE_MS;
    this._upAtMs = null;
    if (lasted) return;
    if (this._at === 0) {
      const waitedMs = this._returnMs || Connection.RETURN_MS;
      const soon = nowMs - this._backAtMs < 3 * waitedMs;
      this._returnMs = soon ? Math.min(2 * waitedMs, Connection.LONGEST_RETURN_MS) : 0;
    }
    this._at = (this._at + 1) % this._urls.length;
  }

  /* Tries the first broker while another is used, and goes back to it when it has held. */
  _lookBack() {
    clearTimeout(this._probing);
    if (this._probe !== null) this._probe.onclose = null;
    this._probe?.close();
    this._probe = null;
    if (this._at > 0) this._probing = setTimeout(() => this._tryFirst(), Connection.RETRY_MS);
  }

  _tryFirst() {
    let probe;
    try {
      probe = new WebSocket(this._urls[0], "mqtt");
    } catch {
      return; // a page over https may not open ws://, later neither
    }
    this._probe = probe;
    probe.onclose = () => this._lookBack();
    probe.onopen = () => {
      this._probing = setTimeout(() => {
        this._at = 0;
        this._backAtMs = Date.now();
        this._lookBack(); // which ends the probe
        this.open(this._credentials);
      }, this._returnMs || Connection.RETURN_MS);
    };
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
        error ? reject(this._look(error)) : resolve(),
      );
    });
  }

  _look(error) {
    this.denied ||= error.code === Asking.NOT_AUTHORIZED;
    return error;
  }

  /* Asks the recorder; resolves with the bytes of its answer. Rejects with an Error where none comes. */
  ask(text) {
    if (this.link.state !== "up") return Promise.reject(new Error("there is no link to the broker"));
    const mark = String((this._questions += 1));
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this._asked.delete(mark);
        settle(value);
      };
      const timer = setTimeout(() => done(reject, new Error("no answer came")), Connection.ANSWER_WITHIN_MS);
      this._asked.set(mark, (bytes) => done(resolve, bytes));
      const properties = { responseTopic: this._own, correlationData: mark };
      this._client.publish("roomtone/history/get", text, { qos: 0, retain: false, properties });
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
      transformWsUrl: () => {
        properties.maximumPacketSize = Connection.MAX_PACKET_BYTES;
        return this.url;
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

/* Commands that were sent, and what became of them: the last one of each sensor. */
class Asking {
  static ANSWER_MS = 10_000;
  static NOT_AUTHORIZED = 135; // a reason code of MQTT 5

  constructor(connection) {
    this._connection = connection;
    this._asked = new Map(); // device -> {atMs, problem, denied} and what was said beside
  }

  /* The last command to a device, while it is not forgotten: undefined where there is none. */
  of(device) {
    return this._asked.get(device);
  }

  forget(device) {
    this._asked.delete(device);
  }

  /* Sends a command; `beside` is remembered with it. */
  send(device, topic, text, beside = {}) {
    const asked = { ...beside, atMs: Date.now(), problem: "", denied: false };
    this._asked.set(device, asked);
    this._connection.command(device, topic, text).catch((error) => {
      asked.problem = error.message.toLowerCase();
      asked.denied = error.code === Asking.NOT_AUTHORIZED;
      Page.touch();
    });
    Page.touch();
  }

  /* Sends a command whose answer comes in JSON; `answer` is the one that is there already, or null. */
  sendJson(device, topic, command, answer) {
    this.send(device, topic, JSON.stringify(command), { before: answer?.ts ?? null });
  }

  /* What became of the last one: {state, reason}; state is none, pending, silent, refused or done. */
  outcome(device, answer, nowMs) {
    const asked = this.of(device);
    if (!asked) return { state: "none", reason: "" };
    if (asked.problem) return { state: "refused", reason: asked.problem };
    if (answer !== null && answer.ts !== asked.before)
      return answer.done ? { state: "done", reason: "" } : { state: "refused", reason: answer.reason ?? "no reason given" };
    return { state: Asking.isLate(asked, nowMs) ? "silent" : "pending", reason: "" };
  }

  /* The same in words; `done` are those for what was done. */
  static words({ state, reason }, done) {
    const words = { none: "", pending: "Telling the sensor…", silent: "The sensor does not answer.", done };
    return words[state] ?? `Not done: ${reason}.`;
  }

  static isLate(asked, nowMs) {
    return nowMs - asked.atMs > Asking.ANSWER_MS;
  }
}

/* The page's own connection; `problem` says in words why there can be none. */
const broker = { connection: null, problem: address.problem };
if (address.urls.length > 0) {
  broker.connection = new Connection(address.urls, address.socket);
  broker.connection.open();
}
