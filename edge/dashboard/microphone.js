/* The microphone in words, the sound's figures, the listening switch, and the way to the settings. */
"use strict";

class MicrophoneCard {
  constructor(connection) {
    this._connection = connection;
    this._asking = new Asking(connection); // remembers {wanted}
    this._figures = new Figures(Dom.byId("ear-figures"));
    this._switch = Dom.byId("listening");
    this._sensor = null;
    this._switch.addEventListener("click", () => this._toggle());
    Dom.byId("settings-open").addEventListener("click", () => Page.want("settings"));
  }

  update(sensor, { condition, nowMs }) {
    this._sensor = sensor;
    const ear = Condition.microphone(sensor);
    const told = ear.code !== null && !["offline", "stale"].includes(condition.kind); // else that was before
    const state = Dom.byId("ear-state");
    Dom.setAttribute(state, "data-works", told && ear.code !== "starting" ? (ear.code === "ok" ? "yes" : "no") : "unknown");
    Dom.setText(state, told ? ear.reason : "not known now");
    Dom.setHidden(Dom.byId("ear"), condition.kind === "off"); // which the big card says, and the switch shows
    Dom.setText(Dom.byId("ear-detail"), told ? Condition.sentence(MicrophoneCard._rest(ear)) : "");
    const sound = sensor.state;
    this._figures.show([
      ["Level", Format.number(sound?.levelDbfs ?? null, 0, "dBFS")],
      ["Speech above noise", Format.number(sound?.snrDb ?? null, 0, "dB")],
      ["Speech, last 10 s", sound?.speechRatio == null ? "–" : Format.percent(sound.speechRatio)],
      ["Clipped", sound?.clippedRatio == null ? "–" : `${(sound.clippedRatio * 100).toFixed(1)} %`, sound?.clippedRatio > 0.01 ? "too loud" : ""],
    ]);
    this._showSwitch(sensor, nowMs);
    Dom.setHidden(Dom.byId("settings-open"), sensor.settings === null);
  }

  _showSwitch(sensor, nowMs) {
    const on = this._isOn(sensor);
    if (this._asking.of(sensor.device)?.wanted === (on ? "ON" : "OFF")) this._asking.forget(sensor.device);
    const pending = this._asking.of(sensor.device);
    const able = this._connection.link.state === "up" && sensor.status !== "offline";
    Dom.setAttribute(this._switch, "aria-checked", String(on));
    Dom.setAttribute(this._switch, "aria-disabled", String(!able));
    Dom.setAttribute(this._switch, "data-known", able ? "yes" : "no");
    Dom.setText(Dom.byId("listening-word"), able ? (on ? "on" : "off") : "?");
    Dom.setText(Dom.byId("listening-note"), this._note(pending, able, nowMs));
  }

  /* What the detail says beyond the reason, with which it mostly begins. */
  static _rest({ reason, detail }) {
    return detail.startsWith(reason) ? detail.slice(reason.length).replace(/^[:;,. ]+/, "") : detail;
  }

  _note(pending, able, nowMs) {
    if (!able) return "Cannot be switched now: no link to the sensor. Whether its microphone is open is not known; pulling its plug closes it for certain.";
    if (!pending) return "";
    if (pending.problem) return `Not switched: ${pending.problem}.`;
    if (Asking.isLate(pending, nowMs)) return "The sensor does not answer.";
    return pending.wanted === "ON" ? "Switching on…" : "Switching off…";
  }

  /* Sensors that never said so listen. */
  _isOn(sensor) {
    return sensor.listening !== "OFF";
  }

  _toggle() {
    const sensor = this._sensor;
    if (sensor === null || this._switch.getAttribute("aria-disabled") === "true") return;
    const wanted = this._isOn(sensor) ? "OFF" : "ON";
    this._asking.send(sensor.device, "listening/set", wanted, { wanted });
  }
}

if (broker.connection) Page.addRoomView(new MicrophoneCard(broker.connection));
