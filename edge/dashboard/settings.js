/* The drawer of a room's settings: what holds, what of it was set here against the file, and commands that change it. */
"use strict";

/* A number or a choice; `name` is the setting's on the wire. */
class Field {
  constructor(name, id, title, unit = "") {
    this.name = name;
    this.title = title;
    this.form = null; // which sends it; else it is sent when it has changed
    this.elements = [Dom.byId(id)];
    this.reset = Dom.make("button", { type: "button", class: "plain", "aria-label": `Reset the ${title}` }, "Reset");
    this.typed = this.elements[0].type === "number"; // what was typed stays, to be mended, where it is not taken
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

  /* What is wrong with what is written there, in words; empty where nothing is. */
  problem() {
    const [{ validity, min, max }] = this.elements;
    return validity?.valid === false ? `The ${this.title} is a number from ${min} to ${max}.` : "";
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
    [0, 0, 0.0733],
    [25, 1.4, 0.195],
    [50, 5.5, 0.5317],
    [75, 40.1, 0.9333],
    [100, 89.9, 1],
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
    this.typed = true;
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

  problem() {
    const hours = this.read();
    if (hours === null) return "";
    if (!hours.start || !hours.end) return "Quiet hours need a time to begin at and one to end at.";
    if (hours.start === hours.end) return "Quiet hours that begin and end at the same time say neither never nor always.";
    try {
      if (hours.time_zone) new Intl.DateTimeFormat(undefined, { timeZone: hours.time_zone });
    } catch {
      return `There is no time zone “${hours.time_zone}”. Choose one of the list, such as Europe/Berlin.`;
    }
    return "";
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
    this._wrong = ""; // what was wrong with what was not sent
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
    Dom.byId("settings-reset").addEventListener("click", () => this._askToReset());
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
      for (const { name, typed } of this._controls)
        if (this._sent.has(name) && (outcome.state === "done" || !typed)) this._touched.delete(name);
      this._sent.clear();
    }
    const why = this._why(sensor);
    Dom.byId("settings-fields").disabled = why !== "";
    outcome.reason = this._named(outcome.reason);
    Dom.setText(Dom.byId("settings-note"), why || this._wrong || Asking.words(outcome, "The sensor has taken it."));
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

  /* A reason of the sensor's, which begins with a setting's name on the wire, by its title here. */
  _named(reason) {
    const [, name, rest] = /^(?:edge\.)?(\w+)(?:\.\w+)*: (.*)$/.exec(reason) ?? [];
    const control = this._controls.find((each) => each.name === name);
    return control ? `${control.title}: ${rest}` : reason;
  }

  _askToReset() {
    const { set, configured, calibration } = this._sensor.settings;
    const back = this._controls.filter(({ name }) => set.has(name)).map((each) => `${each.title} ${each.words(configured[each.name])}`);
    const now = back.length ? `The configuration holds again: ${back.join(", ")}.` : "Nothing was set here.";
    const room = calibration.floorDbfs === null ? "" : "The calibration is forgotten.";
    Confirm.ask("Reset everything?", [now, room, this._opens()].filter(Boolean).join(" "), "Reset everything", () => this._reset(true));
  }

  /* That the microphone may open, where that is what giving up the quiet hours can do. */
  _opens() {
    const { held, set } = this._sensor.settings;
    return set.has("quiet_hours") && held.quiet_hours !== null ? "The quiet hours that were set here end: if it is one now, the microphone opens." : "";
  }

  _askOrReset(control) {
    const opens = control.name === "quiet_hours" ? this._opens() : "";
    const reset = () => this._reset([control.name]);
    if (opens === "") reset();
    else Confirm.ask("Reset the quiet hours?", `The configuration has ${control.words(this._sensor.settings.configured[control.name])}. ${opens}`, "Reset", reset);
  }

  /* `names` is true for all of them. What was typed and not sent goes, too. */
  _reset(names) {
    for (const { name } of this._controls) if (names === true || names.includes(name)) this._touched.delete(name);
    this._send({ reset: names });
  }

  _follow(control) {
    control.reset.addEventListener("click", () => this._askOrReset(control));
    for (const element of control.elements)
      element.addEventListener("input", () => {
        this._touched.add(control.name);
        this._wrong = "";
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
    this._wrong = control.problem();
    if (this._wrong) {
      Page.touch();
      return;
    }
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
    this._wrong = "";
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
    this._wrong = "";
  }
}

if (broker.connection) Page.addRoomView(new Settings(broker.connection));
