/* The big card: the emotion now, how sure, and since when; or why that cannot be said. */
"use strict";

const NowCard = (() => {
  const SPOKEN_EVERY_MS = 3000;
  let spokenAt = -Infinity;
  let spoken = "";

  function update(sensor, { condition, link, linkUp, nowMs, steadyMs }) {
    const live = condition.kind === "live";
    const card = Dom.byId("now");
    Dom.setAttribute(card, "data-condition", condition.kind);
    Dom.setAttribute(card, "data-link", linkUp ? "up" : "down");
    Dom.setAttribute(card, "data-tone", live ? Labels.tone(sensor.state.emotion) : "none");
    Dom.setIcon(Dom.byId("now-drawing"), live ? Labels.face(sensor.state.emotion) : condition.kind);
    Dom.setText(Dom.byId("now-kicker"), kicker(condition.kind, linkUp));
    Dom.setText(Dom.byId("now-word"), condition.word);
    const ratio = live ? Mood.surely(sensor.state) : null;
    const detail = live ? (Mood.detail(sensor.state) ?? sureness(sensor.state)) : condition.detail;
    Dom.setAttribute(Dom.byId("now-ring"), "stroke-dasharray", `${Math.round((ratio ?? 0) * 100)} 100`);
    Dom.setText(Dom.byId("now-detail"), detail);
    Dom.setText(Dom.byId("now-since"), live ? since(sensor, linkUp ? nowMs : link.lostAtMs || nowMs) : condition.heard);
    Dom.setText(Dom.byId("now-room"), live ? Mood.acquaintance(sensor.health) : "");
    Dom.setHidden(Dom.byId("now-caveat"), !live);
    speak(`${sensor.name}: ${condition.word}. ${detail}`, condition, steadyMs);
  }

  function kicker(kind, linkUp) {
    if (!linkUp) return "Last known";
    return kind === "live" ? "The room now" : "The sensor is";
  }

  function sureness(state) {
    return [Labels.sureness(state.emotion, state.confidence), Labels.meaning(state.emotion)].filter(Boolean).join(" · ");
  }

  function since(sensor, nowMs) {
    const heldMs = Condition.heldMs(sensor, nowMs);
    if (heldMs === null) return "";
    const day = Format.day(sensor.state.since, nowMs);
    return `for ${Format.duration(heldMs)}, since ${day ? `${day} ` : ""}${Format.clock(sensor.state.since)}`;
  }

  /* Says a change to screen readers, not every percent of it. */
  function speak(text, condition, steadyMs) {
    if (condition.word === spoken || steadyMs - spokenAt < SPOKEN_EVERY_MS) return;
    [spoken, spokenAt] = [condition.word, steadyMs];
    Dom.setText(Dom.byId("spoken"), text);
  }

  return { update };
})();
