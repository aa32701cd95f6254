/* The drawer of a room's settings: what holds, what of it was set here against the file, and commands that change it. */
"use strict";

/* A number or a choice; `name` is the setting's on the wire. */
class Field {
  constructor(name, id, title, unit = "") {
    this.name = name;
    this.form = null; // which sends it; else it is sent when it has changed
    this.elements = [Dom.byId(id)];
    this.reset = Dom.make("button", { type: "button", class: "plain", "aria-label": `Reset the ${title}` }, "Reset");
    this._unit = unit;
    this._holds = Dom.make("p", { class: "muted small" });
    Dom.byId(`${id}-holds`).append(this._holds, this.reset);
  }

  /* Says what holds, and the configuration beside it where that is something else. */
  tell(value, own, configured) {
    const now = `Now ${this.words(value)}`;
    Dom.setText(this._holds, own ? `${now}, set here. The configuration has ${this.words(configured)}.` : `${now}, as configured.`);
    Dom.setHidden(this.reset, !own);
  }

  show(value) {
    const [element] = this.elements;
    if (value !== null && element.value !== String(value)) element.value = String(value);
    this.changed();
  }

  /* Undefined where nothing is written there. */
  read() {
    const [{ value, type }] = this.elements;
    if (value === "") return undefined;
    return type.startsWith("select") ? value : Number(value);
  }

  words(value) {
    return value === null ? "–" : `${value}${this._unit}`;
  }

  /* What it shows is something else. */
  changed() {}
}

class Sensitivity extends Field {
  /* [sensitivity, false emotions in an hour of other sounds, share of speech that gets a label], of
   * tests/bench/reports/sensitivity.json, to which a test holds it. */
  static MEASURED = [
    [0, 0, 0.0583],
    [25, 2.8, 0.1433],
    [50, 6.9, 0.325],
    [75, 30.4, 0.71],
    [100, 71.9, 0.9933],
  ];

  changed() {
    const value = this.read();
    Dom.setText(Dom.byId("sensitivity-value"), String(value));
    Dom.setText(Dom.byId("sensitivity-words"), Sensitivity.told(value));
  }

  /* What it does, in words; between two measured ones it is as much as lies between. */
  static told(sensitivity) {
    const next = Math.max(1, Sensitivity.MEASURED.findIndex(([each]) => each >= sensitivity));
    const [low, high] = Sensitivity.MEASURED.slice(next - 1, next + 1);
    const part = (sensitivity - low[0]) / (high[0] - low[0]);
    const [, wrong, labelled] = low.map((value, index) => value + part * (high[index] - value));
    const count = Math.round(wrong);
    const said = count === 0 ? "no false emotion" : `about ${count} false emotion${count === 1 ? "" : "s"}`;
    return `Measured: ${said} in an hour of rain, dogs, clocks and babies; ${Format.percent(labelled)} of what people say gets a label.`;
  }
}

/* Whether there are quiet hours, from when to when, and where that is. */
class QuietHours extends Field {
  static USUAL = { start: "22:00", end: "07:00" };

  constructor() {
    super("quiet_hours", "quiet", "quiet hours");
    [this.form] = this.elements;
    this._on = Dom.byId("quiet-on");
    this._parts = { start: Dom.byId("quiet-start"), end: Dom.byId("quiet-end"), time_zone: Dom.byId("quiet-zone") };
    this.elements = [this._on, ...Object.values(this._parts)];
    const zones = ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
    Dom.byId("zones").replaceChildren(...zones.map((zone) => Dom.make("option", { value: zone })));
  }

  show(hours) {
    this._on.checked = hours !== null;
    const told = hours ?? { ...QuietHours.USUAL, time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone };
    for (const [name, element] of Object.entries(this._parts)) if (element.value !== told[name]) element.value = told[name];
    this.changed();
  }

  changed() {
    for (const element of Object.values(this._parts)) element.disabled = !this._on.checked;
  }

  read() {
    if (!this._on.checked) return null;
    const filled = Object.entries(this._parts).filter(([, { value }]) => value.trim() !== "");
    return Object.fromEntries(filled.map(([name, { value }]) => [name, value.trim()]));
  }

  words(hours) {
    return hours === null ? "none" : `${hours.start} to ${hours.end} (${hours.time_zone})`;
  }
}

/* Half a minute of the empty room, and what came of it. */
const Calibration = (() => {
  const LASTS_MS = 30_000;
  const ENDS = {
    none: "Not calibrated: the sensor goes by what it hears.",
    spoken: "Somebody was heard; what was known before holds.",
    interrupted: "The microphone went meanwhile; what was known before holds.",
  };

  function update(sensor, { condition, nowMs }) {
    const { calibration } = sensor.settings;
    const live = condition.kind === "live";
    const running = live && calibration.state === "running";
    const leftMs = Math.min(LASTS_MS, Math.max(0, LASTS_MS - (nowMs - sensor.calibratesAt)));
    const progress = Dom.byId("calibrate-progress");
    Dom.byId("calibrate").disabled = !live;
    Dom.setHidden(progress, !running);
    progress.value = 1 - leftMs / LASTS_MS;
    Dom.setText(Dom.byId("calibrate-left"), running ? `${Math.ceil(leftMs / Format.SECOND)} s` : "");
    const result = `${words(calibration)}${live ? "" : " Needs a sensor that listens."}`;
    Dom.setText(Dom.byId("calibrate-result"), running ? "Listening to the empty room…" : result);
    Dom.setHidden(Dom.byId("calibrate-forget"), calibration.floorDbfs === null || running);
  }

  function words({ state, ts, floorDbfs, restlessDb }) {
    const end = state === "done" && ts !== null ? `The room is known since ${Format.clock(ts)}.` : (ENDS[state] ?? "");
    if (floorDbfs === null) return end;
    return `${end} Its noise is ${Format.number(floorDbfs, 1, "dBFS")} and rises by ${Format.number(restlessDb, 1, "dB")} by itself.`;
  }

  return { update };
})();

/* A control shows what the sensor acknowledged; from the first touch until the sensor has answered, what was chosen. */
class Settings {
  /* Arrow keys on a slider are one change each: what is sent is where they come to rest. */
  static REST_MS = 400;

  constructor(connection) {
    this._connection = connection;
    this._asking = new Asking(connection);
    this._sensor = null; // that of the page, of which it was opened
    this._touched = new Set(); // names of settings whose controls show a choice that was not answered yet
    this._sent = new Set(); // those of them that were sent
    this._resting = new Map(); // timers of those that will be sent when they rest, by name
    this._dialog = Dom.byId("settings");
    this._controls = [
      new Sensitivity("sensitivity", "sensitivity", "sensitivity"),
      new QuietHours(),
      new Field("state_interval_s", "interval", "interval", " s"),
      new Field("log_level", "level", "log level"),
    ];
    addEventListener("hashchange", () => this._dialog.close());
    Dom.byId("settings-open").addEventListener("click", () => this._show());
    this._dialog.addEventListener("close", () => this._closed());
    Dom.byId("settings-close").addEventListener("click", () => this._dialog.close());
    Dom.byId("calibrate").addEventListener("click", () => this._send({ calibrate: true }));
    Dom.byId("settings-reset").addEventListener("click", () => this._send({ reset: true }));
    Dom.byId("calibrate-forget").addEventListener("click", () => this._send({ reset: ["calibration"] }));
    for (const control of this._controls) this._follow(control);
    Page.onLink(({ state }) => {
      if (state === "connecting" && this._sensor) this._asking.forget(this._sensor.device); // under another name
    });
  }

  update(sensor, context) {
    if (this._dialog.open && this._sensor.device !== sensor.device) {
      this._dialog.close();
      return; // what is still to be sent goes to the room that it was chosen for
    }
    const first = this._sensor === null; // somebody opened it, and so it came
    this._sensor = sensor;
    if (first) this._show();
    if (sensor.settings === null || !this._dialog.open) return;
    const outcome = this._asking.outcome(sensor.device, sensor.settings.answer, context.nowMs);
    if (outcome.state !== "pending") {
      for (const name of this._sent) this._touched.delete(name);
      this._sent.clear();
    }
    const why = this._why(sensor);
    Dom.byId("settings-fields").disabled = why !== "";
    Dom.setText(Dom.byId("settings-note"), why || Asking.words(outcome, "The sensor has taken it."));
    Dom.setText(Dom.byId("settings-problem"), Condition.sentence(sensor.settings.problem));
    const { held, set, configured } = sensor.settings;
    for (const control of this._controls) {
      const { name } = control;
      if (!this._touched.has(name)) control.show(held[name]);
      control.tell(held[name], set.has(name), configured[name]);
    }
    Calibration.update(sensor, context);
  }

  /* Why nothing can be set now; empty where it can. */
  _why(sensor) {
    if (this._connection.link.state !== "up" || sensor.status === "offline") return "Nothing can be set now: no link to the sensor.";
    return this._asking.of(sensor.device)?.denied ? "The broker lets this name only look: sign in with another." : "";
  }

  _follow(control) {
    control.reset.addEventListener("click", () => this._send({ reset: [control.name] }));
    for (const element of control.elements)
      element.addEventListener("input", () => {
        this._touched.add(control.name);
        control.changed();
      });
    if (control.form !== null) {
      control.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this._sendValue(control);
      });
      return;
    }
    for (const element of control.elements)
      element.addEventListener("change", () => {
        clearTimeout(this._resting.get(control.name));
        this._resting.set(control.name, setTimeout(() => this._sendValue(control), Settings.REST_MS));
      });
  }

  _sendValue(control) {
    clearTimeout(this._resting.get(control.name));
    this._resting.delete(control.name);
    const value = control.read();
    if (value === undefined) {
      this._touched.delete(control.name); // nothing was written there
      Page.touch();
      return;
    }
    this._touched.add(control.name);
    this._sent.add(control.name);
    this._send({ [control.name]: value });
  }

  _send(command) {
    const { device, settings } = this._sensor;
    this._asking.sendJson(device, "settings/set", command, settings.answer);
  }

  _show() {
    Dom.setText(Dom.byId("settings-room"), this._sensor.name);
    this._asking.forget(this._sensor.device);
    this._dialog.showModal();
    Page.touch();
  }

  _closed() {
    for (const control of this._controls) if (this._resting.has(control.name)) this._sendValue(control);
    this._touched.clear();
    this._sent.clear();
  }
}

if (broker.connection) Page.addRoomView(new Settings(broker.connection));
