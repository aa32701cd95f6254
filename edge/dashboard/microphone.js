/* The microphone in words, the sound's figures, and the listening switch. */
"use strict";

class MicrophoneCard {
  static ANSWER_MS = 10_000;

  constructor(connection) {
    this._connection = connection;
    this._figures = new Figures(Dom.byId("ear-figures"));
    this._switch = Dom.byId("listening");
    this._asked = new Map(); // device -> {wanted, atMs, problem}
    this._sensor = null;
    this._switch.addEventListener("click", () => this._toggle());
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
  }

  _showSwitch(sensor, nowMs) {
    const asked = this._asked.get(sensor.device);
    const on = this._isOn(sensor);
    if (asked && (on ? "ON" : "OFF") === asked.wanted) this._asked.delete(sensor.device);
    const pending = this._asked.get(sensor.device);
    const able = this._connection.link.state === "up" && sensor.status !== "offline";
    Dom.setAttribute(this._switch, "aria-checked", String(on));
    Dom.setAttribute(this._switch, "aria-disabled", String(!able));
    Dom.setText(Dom.byId("listening-word"), on ? "on" : "off");
    Dom.setText(Dom.byId("listening-note"), this._note(pending, able, nowMs));
  }

  /* What the detail says beyond the reason, with which it mostly begins. */
  static _rest({ reason, detail }) {
    return detail.startsWith(reason) ? detail.slice(reason.length).replace(/^[:;,. ]+/, "") : detail;
  }

  _note(pending, able, nowMs) {
    if (!able) return "Cannot be switched now: no link to the sensor.";
    if (!pending) return "";
    if (pending.problem) return `Not switched: ${pending.problem}.`;
    if (nowMs - pending.atMs > MicrophoneCard.ANSWER_MS) return "The sensor does not answer.";
    return pending.wanted === "ON" ? "Switching on…" : "Switching off…";
  }

  /* Sensors that never said so listen. */
  _isOn(sensor) {
    return sensor.listening !== "OFF";
  }

  _toggle() {
    const sensor = this._sensor;
    if (sensor === null || this._switch.getAttribute("aria-disabled") === "true") return;
    const asked = { wanted: this._isOn(sensor) ? "OFF" : "ON", atMs: Date.now(), problem: "" };
    this._asked.set(sensor.device, asked);
    this._connection.command(sensor.device, "listening/set", asked.wanted).catch((error) => {
      asked.problem = error.message.toLowerCase();
    });
  }
}

if (broker.connection) Page.addRoomView(new MicrophoneCard(broker.connection));
