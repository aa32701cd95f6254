/* The lines above everything: no link, a microphone that reaches nobody, late events, the demo. */
"use strict";

const Notices = (() => {
  const LITTLE_DB = 10; // as the sensor's own doctor has it
  const shown = new Map(); // key -> the line

  /* Shows exactly these notices: a list of {key, drawing, text, kind}. */
  function show(notices) {
    const box = Dom.byId("notices");
    const wanted = new Set(notices.map((notice) => notice.key));
    for (const [key, line] of shown) {
      if (wanted.has(key)) continue;
      line.remove();
      shown.delete(key);
    }
    for (const { key, drawing, kind, text } of notices) {
      if (!shown.has(key)) {
        const line = Dom.make("p", { class: `notice ${kind}`, "data-notice": key }, Dom.icon(drawing), Dom.make("span"));
        shown.set(key, line);
        box.append(line);
      }
      Dom.setText(shown.get(key).lastElementChild, text);
    }
  }

  function ofLink(link) {
    const since = link.lostAtMs ? ` What you see is from ${Format.clock(link.lostAtMs)} and before.` : "";
    if (link.state === "refused")
      return [{ key: "link", drawing: "offline", kind: "bad", text: "The broker asks for a user name and password." }];
    if (link.state !== "down" && !(link.state === "connecting" && link.lostAtMs)) return [];
    const why = link.detail ? ` (${link.detail})` : "";
    const text = `Disconnected: no answer from the broker at ${broker.connection.url}${why}. Trying again.${since}`;
    return [{ key: "link", drawing: "offline", kind: "bad", text }];
  }

  function ofMicrophone({ health }) {
    const db = health?.loudestMinuteDb ?? null;
    if (db === null || db >= LITTLE_DB) return [];
    const text =
      `In a day of listening the loudest minute was ${db} dB above the noise: if anybody spoke, the microphone is too ` +
      "far away or turned down too far, or a fan or its own hiss drowns them.";
    return [{ key: "faint", drawing: "stale", kind: "hint", text }];
  }

  function ofSensor(sensor, nowMs) {
    if (sensor.late.count === 0 || nowMs - sensor.late.at > Sensor.LATE_MS) return [];
    const count = sensor.late.count === 1 ? "1 event" : `${sensor.late.count} events`;
    const text = `${count} arrived late, kept by the sensor while it had no link. In the list they are marked “late”.`;
    return [{ key: "late", drawing: "stale", kind: "hint", text }];
  }

  function update({ link, sensor, nowMs }) {
    show([...ofLink(link), ...(sensor ? [...ofMicrophone(sensor), ...ofSensor(sensor, nowMs)] : [])]);
  }

  return { update };
})();

Page.addView(Notices);
