/* Says of a change what it was, and forgets lessons: a dialog, two commands, and what the sensor answers. */
"use strict";

class Teaching {
  static ANSWER_MS = 10_000;

  constructor(connection) {
    this._connection = connection;
    this._asked = new Map(); // device -> {command, atMs, before, problem}: before is the answer that was there
    this._sensor = null;
    this._dialog = Dom.byId("teach");
    this._onForget = () => {};
    const list = Dom.byId("changes");
    list.addEventListener("click", (event) => this._chosen(event.target.closest("[data-start]")));
    list.addEventListener("keydown", (event) => Teaching._walk(list, event));
    Dom.byId("teach-cancel").addEventListener("click", () => this._dialog.close());
    Dom.byId("teach-forget").addEventListener("click", () => this._onForget());
    Dom.byId("lessons-forget").addEventListener("click", () => this._askToForgetAll());
  }

  update(sensor, { nowMs }) {
    this._sensor = sensor;
    const { lessons } = sensor;
    const asked = this._asked.get(sensor.device);
    const answer = lessons?.answer ?? null;
    Dom.setText(Dom.byId("lessons-note"), this._note(asked, answer, lessons?.problem ?? null, nowMs));
  }

  _note(asked, answer, problem, nowMs) {
    if (!asked) return problem === null ? "" : Condition.sentence(problem);
    if (asked.problem) return `Not done: ${asked.problem}.`;
    if (answer !== null && answer.ts !== asked.before) {
      if (!answer.done) return `Not done: ${answer.reason ?? "no reason given"}.`;
      return answer.command === "forget" ? "Forgotten." : `Taught: ${answer.label}.`;
    }
    return nowMs - asked.atMs > Teaching.ANSWER_MS ? "The sensor does not answer." : "Telling the sensor…";
  }

  /* The arrow keys go from line to line. */
  static _walk(list, event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const buttons = [...list.querySelectorAll("[data-start]")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }

  _chosen(button) {
    const sensor = this._sensor;
    const change = button && sensor?.past.changes().find(({ start }) => String(start) === button.dataset.start);
    if (!change || sensor.lessons === null) return;
    const taught = Lessons.of(change, sensor.lessons);
    Dom.setText(Dom.byId("teach-title"), "What was it?");
    Dom.setText(Dom.byId("teach-change"), `Heard as ${change.label}, ${Format.clockWithSeconds(change.start)}`);
    /* By the moment of the change, which the sensor knows as well as the id of its event, and every page does. */
    const moment = new Date(change.start).toISOString();
    const event = taught?.id ?? moment;
    const choices = sensor.lessons.labels.map((label) => this._choice(label, taught, () => this._send("teach", { event_id: event, label })));
    Dom.byId("teach-choices").replaceChildren(...choices);
    this._open(taught ? () => this._send("forget", { event_id: taught.id }) : null, "Forget this lesson");
  }

  _choice(label, taught, onClick) {
    const button = Dom.make("button", { type: "button", class: "choice", "aria-pressed": String(taught?.label === label) });
    button.append(Dom.icon(Labels.face(label), "face"), label);
    button.addEventListener("click", onClick);
    return Dom.make("li", { "data-tone": Labels.tone(label) }, button);
  }

  _askToForgetAll() {
    if (this._sensor?.lessons == null) return;
    Dom.setText(Dom.byId("teach-title"), `Forget ${Lessons.counted(this._sensor.lessons.count)}?`);
    Dom.setText(Dom.byId("teach-change"), "The sensor then answers as before it was taught. It cannot be undone.");
    Dom.byId("teach-choices").replaceChildren();
    this._open(() => this._send("forget", { event_id: "all" }), "Forget all");
  }

  _open(onForget, words) {
    this._onForget = onForget ?? (() => {});
    Dom.setHidden(Dom.byId("teach-forget"), onForget === null);
    Dom.setHidden(Dom.byId("teach-kept"), Dom.byId("teach-choices").childElementCount === 0);
    Dom.setText(Dom.byId("teach-forget"), words);
    this._dialog.showModal();
  }

  _send(name, command) {
    const sensor = this._sensor;
    const asked = { atMs: Date.now(), before: sensor.lessons?.answer?.ts ?? null, problem: "" };
    this._asked.set(sensor.device, asked);
    this._dialog.close();
    this._connection.command(sensor.device, name, JSON.stringify(command)).catch((error) => {
      asked.problem = error.message.toLowerCase();
    });
    Page.touch();
  }
}

if (broker.connection) Page.addRoomView(new Teaching(broker.connection));
