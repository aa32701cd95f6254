/* Asks for the retained timelines one at a time, the open room's first, and again every ten minutes.
 *
 * They are large (up to 90 kB), and mosquitto 2.0 sends a websocket about 40 kB a second while it is idle: all at once
 * would hold up everything else. What happens in between, the events tell.
 *
 * A retained one is up to a minute old. Of the open room the next one is waited for, which tells of the time from then to
 * the first word that this page heard. */
"use strict";

(() => {
  const PATIENCE_MS = 3000;
  const REFRESH_MS = 10 * 60 * 1000;
  const BACK_MS = 5000; // after which a sensor that was away has told what it knows of that time
  const asked = new Map(); // device -> {atMs, answered, againMs, lacks}
  let waitingFor = null;
  let open = null; // the device whose room is shown

  const topic = (device) => `roomtone/${device}/timeline`;

  function update({ store, sensor, link, steadyMs: nowMs }) {
    open = sensor?.device ?? null;
    if (link.state !== "up") {
      asked.clear();
      waitingFor = null;
      return;
    }
    for (const device of asked.keys()) if (!store.sensors.has(device)) asked.delete(device);
    const current = waitingFor && asked.get(waitingFor);
    if (current && !current.answered && nowMs - current.atMs < PATIENCE_MS) return;
    const next = [open, ...store.sensors.keys()].find((device) => store.sensors.has(device) && isDue(device, nowMs));
    if (next === undefined) return;
    waitingFor = next;
    asked.set(next, { atMs: nowMs, answered: false, againMs: nowMs + REFRESH_MS, lacks: false });
    broker.connection.subscribe(topic(next));
  }

  /* One that has none yet stays subscribed until its first comes. */
  function isDue(device, nowMs) {
    const request = asked.get(device);
    return request === undefined || (request.answered && (nowMs > request.againMs || (request.lacks && device === open)));
  }

  function arrived({ device, kind, value }, retained, store) {
    const request = asked.get(device);
    if (kind === "status" && value === "online" && !retained && request) request.againMs = performance.now() + BACK_MS;
    if (kind !== "timeline" || !request || request.answered) return;
    request.lacks = retained && (store.sensors.get(device)?.past.hasHoles() ?? false);
    if (request.lacks && device === open) {
      if (waitingFor === device) waitingFor = null;
      return;
    }
    request.answered = true;
    broker.connection.unsubscribe(topic(device));
    Page.touch();
  }

  Page.addView({ update });
  Page.onMessage(arrived);
})();
