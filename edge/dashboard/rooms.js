/* All sensors at a glance: a tile each, that leads to its page.
 *
 * There may be two thousand. With each drawing those in sight are brought up to date, and some of the others in turn, so
 * that whoever searches the page, or has it read, finds all of them. */
"use strict";

const Rooms = (() => {
  const RIBBON_EVERY_MS = 5000;
  const MANY = 8;
  const CROWD = 24; // from so many on, rooms can be looked for
  const IN_TURN = 40; // out of sight, that are brought up to date with a drawing
  const NEAR = "300px"; // beyond the window: in sight soon
  const TROUBLED = new Set(["deaf", "offline", "stale"]);
  const tiles = new Map(); // by device, in the order of the page
  const seen = new Set(); // devices whose tiles are in sight
  const observer = new IntersectionObserver(look, { rootMargin: NEAR });
  let arranged = null; // the sensors that have tiles, as the store gave them
  let turn = 0;
  let needle = "";
  let onlyTroubled = false;
  let sifted = false; // some tiles may be hidden

  function update({ store, sensor, linkUp, nowMs: now, steadyMs }) {
    if (sensor !== null || store.pinned !== null || store.sensors.size === 0) return;
    const sensors = store.sorted();
    const fresh = sensors === arranged ? [] : arrange(sensors);
    for (const each of [...fresh, ...inView(store), ...nextInTurn(sensors)]) show(tiles.get(each.device), each, linkUp, now);
    sift(sensors);
    drawRibbons(store, now, steadyMs);
    Dom.setText(Dom.byId("rooms-summary"), [`${sensors.length} sensors`, ...summary()].join(", "));
    const more = store.leftOut >= Store.MAX_COUNTED ? `${Store.MAX_COUNTED} or more` : store.leftOut;
    Dom.setText(Dom.byId("left-out"), `and ${more} more that this page does not show`);
    Dom.setHidden(Dom.byId("left-out"), store.leftOut === 0);
  }

  function inView(store) {
    return [...seen].map((device) => store.sensors.get(device)).filter((sensor) => sensor !== undefined);
  }

  function nextInTurn(sensors) {
    const from = turn < sensors.length ? turn : 0;
    turn = from + IN_TURN;
    return sensors.slice(from, turn);
  }

  function look(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) seen.add(target.dataset.device);
      else seen.delete(target.dataset.device);
    }
    Page.touch();
  }

  function summary() {
    const count = { all: 0, live: 0, off: 0, troubled: 0 };
    for (const { kind } of tiles.values()) {
      count.all += 1;
      if (TROUBLED.has(kind)) count.troubled += 1;
      else if (kind in count) count[kind] += 1;
    }
    if (count.live === count.all) return ["all are heard"];
    return [
      ...(count.off ? [`${count.off} not listening`] : []),
      ...(count.troubled ? [`${count.troubled} ${count.troubled === 1 ? "needs" : "need"} a look`] : []),
    ];
  }

  /* Puts the tiles into the order of the sensors, moving as few as possible; returns the sensors that had none. */
  function arrange(sensors) {
    arranged = sensors;
    const list = Dom.byId("tiles");
    const known = new Map(tiles);
    const fresh = [];
    tiles.clear();
    for (const sensor of sensors) {
      const tile = known.get(sensor.device) ?? make(sensor);
      if (!known.delete(sensor.device)) fresh.push(sensor);
      tiles.set(sensor.device, tile);
    }
    for (const { item } of known.values()) {
      observer.unobserve(item);
      seen.delete(item.dataset.device);
      item.remove();
    }
    let place = list.firstElementChild;
    for (const { item } of tiles.values()) {
      if (item === place) place = place.nextElementSibling;
      else list.insertBefore(item, place);
    }
    list.classList.toggle("many", tiles.size > MANY);
    Dom.setHidden(Dom.byId("find"), tiles.size <= CROWD);
    return fresh;
  }

  function make(sensor) {
    const tile = {
      face: Dom.icon("waiting", "face"),
      name: Dom.make("h2", { class: "tile-name", title: sensor.device }),
      word: Dom.make("p", { class: "tile-word" }),
      detail: Dom.make("p", { class: "tile-detail" }),
      canvas: Dom.make("canvas", { class: "tile-ribbon", "aria-hidden": "true" }),
      kind: "waiting",
      drawnAt: -Infinity,
      drawnKey: "",
      timelines: 0, // that are drawn
    };
    const words = Dom.make("div", { class: "tile-words" }, tile.name, tile.word, tile.detail);
    tile.link = Dom.make("a", { class: "tile card", href: `#${sensor.device}` }, tile.face, words, tile.canvas);
    tile.item = Dom.make("li", { "data-device": sensor.device }, tile.link);
    observer.observe(tile.item);
    return tile;
  }

  function show(tile, sensor, linkUp, now) {
    const condition = Condition.of(sensor, now);
    const live = condition.kind === "live";
    tile.kind = condition.kind;
    Dom.setAttribute(tile.link, "data-condition", condition.kind);
    Dom.setAttribute(tile.link, "data-link", linkUp ? "up" : "down");
    Dom.setAttribute(tile.link, "data-tone", live ? Labels.tone(sensor.state.emotion) : "none");
    Dom.setIcon(tile.face, live ? Labels.face(sensor.state.emotion) : condition.kind);
    Dom.setText(tile.name, sensor.name);
    Dom.setText(tile.word, condition.word);
    Dom.setText(tile.detail, live ? sureAndHeld(sensor, now) : condition.detail);
  }

  /* Hides the tiles of rooms that are not looked for. */
  function sift(sensors) {
    const sifting = tiles.size > CROWD && (needle !== "" || onlyTroubled);
    if (sifting || sifted) {
      let found = 0;
      for (const sensor of sensors) {
        const tile = tiles.get(sensor.device);
        const is = !sifting || ((!onlyTroubled || TROUBLED.has(tile.kind)) && `${sensor.name} ${sensor.device}`.toLowerCase().includes(needle));
        Dom.setHidden(tile.item, !is);
        found += is;
      }
      Dom.setText(Dom.byId("find-count"), sifting ? `${found} of ${sensors.length}` : "");
    }
    sifted = sifting;
  }

  /* All tiles are equally wide: it is asked once, which costs a layout of the page. */
  function drawRibbons(store, now, steadyMs) {
    const isDue = (tile, { past }) => past.timelines !== tile.timelines || steadyMs - tile.drawnAt >= RIBBON_EVERY_MS;
    const due = inView(store).map((sensor) => [tiles.get(sensor.device), sensor]).filter((both) => isDue(...both));
    if (due.length === 0) return;
    const looks = `${due[0][0].canvas.clientWidth} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
    for (const [tile, sensor] of due) {
      const key = `${sensor.past.version} ${looks}`;
      if (key === tile.drawnKey && steadyMs - tile.drawnAt < 12 * RIBBON_EVERY_MS) continue;
      [tile.drawnAt, tile.drawnKey, tile.timelines] = [steadyMs, key, sensor.past.timelines];
      const spans = sensor.past.spans(now - DAY_MS, sensor.knownUntil(now));
      Ribbon.draw(tile.canvas, spans, now - DAY_MS, now, { bar: 2, gap: 1 });
    }
  }

  function sureAndHeld(sensor, now) {
    const heldMs = Condition.heldMs(sensor, now);
    return [Labels.sureness(sensor.state.emotion, sensor.state.confidence), heldMs === null ? "" : `for ${Format.duration(heldMs)}`].filter(Boolean).join(" · ");
  }

  function start() {
    Dom.byId("find-name").addEventListener("input", (event) => {
      needle = event.target.value.trim().toLowerCase();
      Page.touch();
    });
    Dom.byId("find-troubled").addEventListener("click", (event) => {
      onlyTroubled = !onlyTroubled;
      Dom.setAttribute(event.currentTarget, "aria-pressed", String(onlyTroubled));
      Page.touch();
    });
  }

  return { start, update, inSight: () => [...seen] };
})();

Rooms.start();
Page.addView(Rooms);
