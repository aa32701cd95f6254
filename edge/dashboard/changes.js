/* The list of changes, newest first. */
"use strict";

const Changes = (() => {
  const SHOWN = 100;
  let drawnKey = "";
  let newest = null; // the line of the present label, whose duration grows

  function update(sensor, { nowMs: now }) {
    const minute = Math.floor(now / Format.MINUTE);
    const key = `${sensor.device} ${sensor.past.version} ${minute}`;
    if (key !== drawnKey) {
      drawnKey = key;
      build(sensor.past.changes(), now);
    }
    if (newest) Dom.setText(newest.held, held(newest.change.start, sensor.holds(now) ? sensor.knownUntil(now) : newest.change.end));
  }

  function build(changes, now) {
    const shown = changes.slice(-SHOWN);
    const lines = shown.map((change) => line(change, now));
    newest = lines.at(-1) ?? null;
    Dom.setHidden(Dom.byId("changes-empty"), lines.length > 0);
    Dom.setHidden(Dom.byId("changes"), lines.length === 0);
    Dom.byId("changes").replaceChildren(...lines.reverse().map((each) => each.item));
  }

  function line(change, now) {
    const day = Format.day(change.start, now);
    const iso = new Date(change.start).toISOString();
    const clock = Dom.make("time", { datetime: iso }, ...(day ? [Dom.make("small", {}, day)] : []), Format.clockWithSeconds(change.start));
    const holding = Dom.make("span", { class: "held" }, held(change.start, change.end));
    if (change.label === null) {
      const what = Dom.make("span", { class: "what" }, "nothing known");
      return { change, item: Dom.make("li", { class: "hole" }, clock, Dom.make("span"), what, holding), held: holding };
    }
    const word = Dom.make("span", { class: "word" }, change.label);
    const gap = Past.isGap(change);
    const marks = [...(change.late ? ["late"] : []), ...(gap ? ["nobody listened"] : [])];
    const chips = marks.map((mark) => Dom.make("span", { class: "chip" }, mark));
    const ratio = gap ? null : Labels.surely(change.label, change.confidence);
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

  function held(start, end) {
    return end > start ? `for ${Format.duration(end - start)}` : "";
  }

  return { update };
})();

Page.addRoomView(Changes);
