/* Asks for the retained timelines one by one, the open room's first, and again every ten minutes; of many rooms only
 * those in sight. All at once (90 kB each) would hold up everything else; what happens in between, the events tell.
 *
 * A retained one, with what came since, is up to a minute old. Of the open room the next word is waited for: it tells
 * of the time until this page heard. */
"use strict";

(() => {
  const PATIENCE_MS = 3000;
  const REFRESH_MS = 10 * 60 * 1000;
  const BACK_MS = 5000; // after which a sensor that was away has told what it knows of that time
  const FEW = 24;
  const MAX_HELD = 300; // days of rooms that are out of sight; beyond, those asked for first are let go
  const asked = new Map(); // device -> {atMs, answered, againMs, lacks}, in the order of asking
  let waitingFor = null;
  let open = null; // the device whose room is shown

  // The status, which each has, comes last: where nothing came before it, there is nothing to wait for.
  const topics = (device) => ["timeline", "recent", "status"].map((kind) => `roomtone/${device}/${kind}`);

  function update({ store, sensor, link, steadyMs: nowMs }) {
    open = sensor?.device ?? null;
    if (link.state !== "up") {
      asked.clear();
      waitingFor = null;
      return;
    }
    const current = waitingFor && store.sensors.has(waitingFor) && asked.get(waitingFor);
    if (current && !current.answered && nowMs - current.atMs < PATIENCE_MS) return;
    const wanted = store.sensors.size <= FEW ? [open, ...store.sensors.keys()] : open === null ? Rooms.inSight() : [open];
    const next = wanted.find((device) => store.sensors.has(device) && isDue(device, nowMs));
    if (next === undefined) return;
    waitingFor = next;
    asked.delete(next);
    asked.set(next, { atMs: nowMs, answered: false, againMs: nowMs + REFRESH_MS, lacks: false });
    letGo(store, new Set([...wanted, next]));
    broker.connection.subscribe(topics(next));
  }

  function letGo(store, wanted) {
    for (const device of asked.keys()) {
      if (asked.size <= MAX_HELD) return;
      if (store.sensors.has(device) && wanted.has(device)) continue;
      asked.delete(device);
      broker.connection.unsubscribe(topics(device));
      store.sensors.get(device)?.past.forgetDay();
    }
  }

  /* Who has none yet stays subscribed. */
  function isDue(device, nowMs) {
    const request = asked.get(device);
    return request === undefined || (request.answered && (nowMs > request.againMs || (request.lacks && device === open)));
  }

  function arrived({ device, kind, value }, retained, store) {
    const request = asked.get(device);
    if (!request) return;
    if (!store.sensors.has(device)) {
      asked.delete(device);
      return;
    }
    if (kind === "status" && retained && waitingFor === device) waitingFor = null;
    if (kind === "status" && value === "online" && !retained) request.againMs = performance.now() + BACK_MS;
    if ((kind !== "timeline" && kind !== "recent") || request.answered) return;
    request.lacks = retained && store.sensors.get(device).past.hasHoles();
    if (request.lacks && device === open) {
      if (waitingFor === device) waitingFor = null;
      return;
    }
    if (kind === "recent" && retained) return; // whether there is a timeline, too, is not known yet
    request.answered = true;
    broker.connection.unsubscribe(topics(device));
    Page.touch();
  }

  Page.addView({ update });
  Page.onMessage(arrived);
})();
