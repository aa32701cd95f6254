/* What the sensor was taught: which changes can be corrected, and the card that tells how much it helps. */
"use strict";

const Lessons = (() => {
  /* An event's id and the line of its change are of the same moment, but for roundings. */
  const SAME_MS = 5;
  /* Fewer lessons than these, over all labels, tell nothing of how much they help; `roomtone lessons` has it so, too. */
  const FEWEST = 5;
  const figures = new Figures(Dom.byId("lessons-figures"));

  /* Whether somebody said something at a change, to a sensor that can be taught what it was. */
  function canTeach(change, lessons) {
    return lessons !== null && lessons.teachable && change.label !== Labels.QUIET;
  }

  /* The lesson of a change, or undefined. */
  function of(change, lessons) {
    return lessons?.taught.find(({ at }) => at !== null && Math.abs(at - change.start) <= SAME_MS);
  }

  function update({ lessons }) {
    Dom.setHidden(Dom.byId("lessons"), lessons === null);
    if (lessons === null) return;
    const some = lessons.count > 0;
    Dom.setText(Dom.byId("lessons-text"), text(lessons));
    Dom.setHidden(Dom.byId("lessons-figures"), !some);
    Dom.setHidden(Dom.byId("lessons-help"), !some);
    Dom.setHidden(Dom.byId("lessons-use"), !some);
    Dom.setHidden(Dom.byId("lessons-forget"), !some);
    if (!some) return;
    figures.show(Labels.inOrder(lessons.perLabel.keys()).map((label) => [label, String(lessons.perLabel.get(label))]));
    Dom.setText(Dom.byId("lessons-help"), help(lessons));
    Dom.setText(Dom.byId("lessons-use"), use(lessons));
  }

  function text(lessons) {
    if (!lessons.teachable) return "The model of this sensor cannot be taught.";
    const others = lessons.ofOtherModels > 0 ? ` Another model has ${Lessons.counted(lessons.ofOtherModels)}.` : "";
    if (lessons.count === 0) return `None yet. Choose a change in the list to say what it was.${others}`;
    return `${Lessons.counted(lessons.count)}.${others}`;
  }

  /* How many lessons the sensor would get right, without the lessons (before) and by the others of them (after). */
  function help({ count, rightBefore, rightAfter }) {
    if (count < FEWEST) return "Too few to tell yet; five of each label help most.";
    if (rightBefore === null || rightAfter === null) return "";
    const [before, after] = [rightBefore, rightAfter].map((ratio) => Math.round(ratio * count));
    return `Best guess right, of the ${count} lessons: ${before} before, ${after} after.`;
  }

  function use({ count, inUse, chanceBefore, chanceAfter }) {
    const how = inUse ? "The sensor answers by the lessons" : "The sensor answers without the lessons so far";
    if (count < FEWEST || chanceBefore === null || chanceAfter === null) return `${how}.`;
    const chances = `what you said was given a chance of ${Format.percent(chanceBefore)} before, ${Format.percent(chanceAfter)} after`;
    return (
      "The best guess is the likeliest emotion at the utterance's end, also where the page says unknown; " +
      `after: as the other lessons teach it. ${how}: ${chances}.`
    );
  }

  return { canTeach, of, update, counted: (count) => (count === 1 ? "1 lesson" : `${count} lessons`) };
})();

Page.addRoomView(Lessons);

/* Says of a change what it was, and forgets lessons: a dialog, two commands, and what the sensor answers. */
class Teaching {
  static DONE_MS = 8_000; // for so long it is said that something was done

  constructor(connection) {
    this._asking = new Asking(connection);
    this._sensor = null;
    this._told = null; // the answer that says what was done, and since when: {ts, sinceMs}
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
    const answer = sensor.lessons?.answer ?? null;
    const outcome = this._asking.outcome(sensor.device, answer, nowMs);
    if (outcome.state === "done") this._letGo(sensor.device, answer.ts, nowMs);
    const done = answer?.label ? `Taught: ${answer.label}.` : "Forgotten.";
    const words = outcome.state === "none" ? Condition.sentence(sensor.lessons?.problem) : Asking.words(outcome, done);
    Dom.setText(Dom.byId("lessons-note"), words);
  }

  _letGo(device, ts, nowMs) {
    if (this._told?.ts !== ts) this._told = { ts, sinceMs: nowMs };
    else if (nowMs - this._told.sinceMs > Teaching.DONE_MS) this._asking.forget(device);
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
    const { device, lessons } = this._sensor;
    this._dialog.close();
    this._asking.sendJson(device, name, command, lessons?.answer ?? null);
  }
}

if (broker.connection) Page.addRoomView(new Teaching(broker.connection));
