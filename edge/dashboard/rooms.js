/* All sensors at a glance: a tile each, that leads to its page. */
"use strict";

const Rooms = (() => {
  const DRAW_EVERY_MS = 5000;
  const MANY = 8;
  const tiles = new Map();

  function update({ store, sensor, linkUp, nowMs: now, steadyMs }) {
    if (sensor !== null || store.pinned !== null || store.sensors.size === 0) return;
    const sensors = store.sorted();
    if ([...tiles.keys()].join() !== sensors.map((sensor) => sensor.device).join()) arrange(sensors);
    const kinds = [];
    for (const each of sensors) {
      const condition = Condition.of(each, now);
      kinds.push(condition.kind);
      show(tiles.get(each.device), each, condition, linkUp, now);
      drawRibbon(tiles.get(each.device), each, now, steadyMs);
    }
    Dom.setText(Dom.byId("rooms-summary"), [`${sensors.length} sensors`, ...summary(kinds)].join(", "));
    const more = store.leftOut >= Store.MAX_COUNTED ? `${Store.MAX_COUNTED} or more` : store.leftOut;
    Dom.setText(Dom.byId("left-out"), `and ${more} more that this page does not show`);
    Dom.setHidden(Dom.byId("left-out"), store.leftOut === 0);
  }

  function summary(kinds) {
    const count = (...wanted) => kinds.filter((kind) => wanted.includes(kind)).length;
    const [off, troubled] = [count("off"), count("deaf", "offline", "stale")];
    if (count("live") === kinds.length) return ["all are heard"];
    return [
      ...(off ? [`${off} switched off`] : []),
      ...(troubled ? [`${troubled} ${troubled === 1 ? "needs" : "need"} a look`] : []),
    ];
  }

  function arrange(sensors) {
    const known = new Map(tiles);
    tiles.clear();
    for (const sensor of sensors) tiles.set(sensor.device, known.get(sensor.device) ?? make(sensor));
    const list = Dom.byId("tiles");
    list.classList.toggle("many", tiles.size > MANY);
    list.replaceChildren(...[...tiles.values()].map((tile) => tile.item));
  }

  function make(sensor) {
    const tile = {
      face: Dom.icon("waiting", "face"),
      name: Dom.make("h2", { class: "tile-name", title: sensor.device }),
      word: Dom.make("p", { class: "tile-word" }),
      detail: Dom.make("p", { class: "tile-detail" }),
      canvas: Dom.make("canvas", { class: "tile-ribbon", "aria-hidden": "true" }),
      drawnAt: -Infinity,
      drawnKey: "",
    };
    const words = Dom.make("div", { class: "tile-words" }, tile.name, tile.word, tile.detail);
    tile.link = Dom.make("a", { class: "tile card", href: `#${sensor.device}` }, tile.face, words, tile.canvas);
    tile.item = Dom.make("li", {}, tile.link);
    return tile;
  }

  function show(tile, sensor, condition, linkUp, now) {
    const live = condition.kind === "live";
    Dom.setAttribute(tile.link, "data-condition", condition.kind);
    Dom.setAttribute(tile.link, "data-link", linkUp ? "up" : "down");
    Dom.setAttribute(tile.link, "data-tone", live ? Labels.tone(sensor.state.emotion) : "none");
    Dom.setIcon(tile.face, live ? Labels.face(sensor.state.emotion) : condition.kind);
    Dom.setText(tile.name, sensor.name);
    Dom.setText(tile.word, condition.word);
    Dom.setText(tile.detail, live ? sureAndHeld(sensor, now) : condition.detail);
  }

  function drawRibbon(tile, sensor, now, steadyMs) {
    const key = `${sensor.past.version} ${tile.canvas.clientWidth} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
    const aged = steadyMs - tile.drawnAt;
    if (aged < DRAW_EVERY_MS || (key === tile.drawnKey && aged < 12 * DRAW_EVERY_MS)) return;
    [tile.drawnAt, tile.drawnKey] = [steadyMs, key];
    const spans = sensor.past.spans(now - DAY_MS, sensor.knownUntil(now));
    Ribbon.draw(tile.canvas, spans, now - DAY_MS, now, { bar: 2, gap: 1 });
  }

  function sureAndHeld(sensor, now) {
    const heldMs = Condition.heldMs(sensor, now);
    return [Labels.sureness(sensor.state.emotion, sensor.state.confidence), heldMs === null ? "" : `for ${Format.duration(heldMs)}`].filter(Boolean).join(" · ");
  }

  return { update };
})();

Page.addView(Rooms);
