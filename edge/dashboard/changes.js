/* The list of changes, newest first. What somebody said can be corrected as soon as lessons.js is there. */
"use strict";

const Changes = (() => {
  const SHOWN = 100;
  const SAME_MS = 5; // an event's id and the line of its change are of the same moment, but for roundings
  let drawnKey = "";
  let newest = null; // the line of the present label, whose duration grows

  function update(sensor, { nowMs: now }) {
    const minute = Math.floor(now / Format.MINUTE);
    const key = `${sensor.device} ${sensor.past.version} ${minute} ${sensor.lessons?.ts} ${sensor.status} ${typeof Lessons}`;
    if (key !== drawnKey && !Dom.byId("changes").matches(":active")) { // what is pressed stays until it is let go
      drawnKey = key;
      build(sensor, now);
    }
    if (newest) Dom.setText(newest.held, held(newest.change.start, sensor.holds(now) ? sensor.knownUntil(now) : newest.change.end));
  }

  function build(sensor, now) {
    const shown = sensor.past.changes().slice(-SHOWN);
    const lines = shown.map((change) => line(change, now, sensor));
    const focused = document.activeElement?.dataset.start;
    newest = lines.at(-1) ?? null;
    Dom.setHidden(Dom.byId("changes-empty"), lines.length > 0);
    Dom.setHidden(Dom.byId("changes"), lines.length === 0);
    Dom.byId("changes").replaceChildren(...lines.reverse().map((each) => each.item));
    if (focused !== undefined) Dom.byId("changes").querySelector(`[data-start="${Number(focused)}"]`)?.focus();
  }

  function line(change, now, { lessons, status }) {
    const day = Format.day(change.start, now);
    const iso = new Date(change.start).toISOString();
    const clock = Dom.make("time", { datetime: iso }, ...(day ? [Dom.make("small", {}, day)] : []), Format.clockWithSeconds(change.start));
    const holding = Dom.make("span", { class: "held" }, held(change.start, change.end));
    if (change.label === null || Past.isGap(change)) {
      const unknown = change.untold && status === "online" ? "not told yet" : "nothing known";
      const [kind, words] = change.label === null ? ["hole", unknown] : ["gap", "nobody listened"];
      const icon = kind === "gap" ? Dom.icon("deaf", "face") : Dom.make("span");
      const what = Dom.make("span", { class: "what" }, words);
      return { change, item: Dom.make("li", { class: kind }, clock, icon, what, holding), held: holding };
    }
    const taught = lessonOf(change, lessons);
    const button = typeof Lessons === "undefined" ? null : Lessons.button(change, lessons);
    const word = button ?? Dom.make("span", { class: "word" }, change.label);
    const marks = [...(change.late ? ["late"] : []), ...(taught ? [`it was ${taught.label}`] : [])];
    const chips = marks.map((mark) => Dom.make("span", { class: "chip" }, mark));
    const ratio = Labels.surely(change.label, change.confidence);
    const sure = ratio === null ? "" : Format.percent(ratio);
    const item = Dom.make(
      "li",
      { "data-tone": Labels.tone(change.label), "data-label": change.label },
      clock,
      Dom.icon(Labels.face(change.label), "face"),
      Dom.make("span", { class: "what" }, word, ...chips),
      holding,
      Dom.make("span", { class: "value" }, sure),
    );
    return { change, item, held: holding };
  }

  /* The lesson of a change, or undefined. */
  function lessonOf(change, lessons) {
    return lessons?.taught.find(({ at }) => at !== null && Math.abs(at - change.start) <= SAME_MS);
  }

  function held(start, end) {
    return end > start ? `for ${Format.duration(end - start)}` : "";
  }

  return { update, lessonOf };
})();

Page.addRoomView(Changes);
