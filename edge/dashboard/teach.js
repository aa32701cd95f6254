/* Says of a change what it was, and forgets lessons: a dialog, two commands, and what the sensor answers. It comes when
 * somebody wants it (lessons.js). */
"use strict";

class Teaching {
  static DONE_MS = 8_000; // for so long it is said that something was done
  static NONE = [
    "Then teach it nothing. A lesson says which of these a voice was; none can say that it was no voice, or not one of yours.",
    "A noise: calibrate the empty room, or turn the sensitivity down. A television: turn the sensitivity down, or switch listening off while it runs; the sensor cannot tell it from people. A guest: leave it as it is.",
  ];

  constructor(connection) {
    this._asking = new Asking(connection);
    this._sensor = null;
    this._told = null; // the answer that says what was done, and since when: {ts, sinceMs}
    this._dialog = Dom.byId("teach");
    this._onForget = () => {};
    Dom.byId("teach-settings").before(...Teaching.NONE.map((words) => Dom.make("p", {}, words)));
    Dom.byId("teach-cancel").addEventListener("click", () => this._dialog.close());
    Dom.byId("teach-forget").addEventListener("click", () => this._onForget());
    Dom.byId("teach-settings").addEventListener("click", () => {
      this._dialog.close();
      Dom.byId("settings-open").click();
    });
  }

  update(sensor, { nowMs }) {
    const first = this._sensor === null;
    this._sensor = sensor;
    if (first) Lessons.serve(this);
    const answer = sensor.lessons?.answer ?? null;
    const outcome = this._asking.outcome(sensor.device, answer, nowMs);
    if (outcome.state === "done") this._letGo(sensor.device, answer.ts, nowMs);
    const done = answer?.label ? Teaching._taught(answer) : "Forgotten.";
    const words = outcome.state === "none" ? Condition.sentence(sensor.lessons?.problem) : Asking.words(outcome, done);
    Dom.setText(Dom.byId("lessons-note"), words);
  }

  static _taught({ label, insteadOf }) {
    if (insteadOf === null) return `Taught: ${label}.`;
    return `Taught: ${label}. It takes the place of “it was ${insteadOf}” nearby: that was the same utterance, which teaches once.`;
  }

  _letGo(device, ts, nowMs) {
    if (this._told?.ts !== ts) this._told = { ts, sinceMs: nowMs };
    else if (nowMs - this._told.sinceMs > Teaching.DONE_MS) this._asking.forget(device);
  }

  /* `what` is the start of a change, as text, or Lessons.ALL. */
  open(what) {
    if (this._sensor.lessons === null) return;
    if (what === Lessons.ALL) this._askToForgetAll();
    else this._choose(this._sensor, what);
  }

  _choose(sensor, begun) {
    const change = sensor.past.changes().find(({ start }) => String(start) === begun);
    if (!change) return;
    const taught = Changes.lessonOf(change, sensor.lessons);
    Dom.setText(Dom.byId("teach-change"), `Heard as ${change.label}, ${Format.clockWithSeconds(change.start)}`);
    /* By the moment of the change, which the sensor knows as well as the id of its event, and every page does. */
    const moment = new Date(change.start).toISOString();
    const event = taught?.id ?? moment;
    const choices = sensor.lessons.labels.map((label) => this._choice(label, taught, () => this._send("teach", { event_id: event, label })));
    Dom.byId("teach-choices").replaceChildren(...choices);
    this._onForget = () => this._send("forget", { event_id: taught.id });
    Dom.setHidden(Dom.byId("teach-forget"), !taught);
    Dom.setHidden(Dom.byId("teach-settings"), sensor.settings === null);
    Dom.byId("teach-none").open = false;
    this._dialog.showModal();
  }

  _choice(label, taught, onClick) {
    const button = Dom.make("button", { type: "button", class: "choice", "aria-pressed": String(taught?.label === label) });
    button.append(Dom.icon(Labels.face(label), "face"), label);
    button.addEventListener("click", onClick);
    return Dom.make("li", { "data-tone": Labels.tone(label) }, button);
  }

  _askToForgetAll() {
    Confirm.ask(
      `Forget ${Lessons.counted(this._sensor.lessons.count)}?`,
      "The sensor then answers as before it was taught. It cannot be undone.",
      "Forget all",
      () => this._send("forget", { event_id: "all" }),
    );
  }

  _send(name, command) {
    const { device, lessons } = this._sensor;
    this._dialog.close();
    this._asking.sendJson(device, name, command, lessons?.answer ?? null);
  }
}

Page.addRoomView(new Teaching(broker.connection));
