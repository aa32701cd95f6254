/* Ties it together: messages go into the store, and at most ten times a second what changed goes onto the page.
 *
 * The first view stands before the others' files are asked for (index.html, `later`). */
"use strict";

const Page = (() => {
  const DEMO = new URLSearchParams(location.search).has("demo"); // its broker takes everybody
  const DRAW_EVERY_MS = 100;
  const STILL_MS = 1000; // durations grow also when nothing comes
  const LATER_MS = 700; // the other views come now, whether or not there is something to see
  const store = new Store();
  const views = []; // update({store, sensor, link, linkUp, nowMs, steadyMs})
  const roomViews = []; // update(sensor, the same and condition)
  const linkListeners = [];
  const messageListeners = [];
  let link = { state: "connecting", detail: "" };
  let lostAtMs = 0;
  let scheduled = false;
  let drawnAt = -Infinity;
  let whole = false;
  let open = false; // whether the broker takes everybody, as far as is known
  const wanted = new Set(); // files that not everybody needs

  function start() {
    Dom.setHidden(Dom.byId("demo-note"), !DEMO);
    Dom.byId("sign-in").addEventListener("click", () => want("login"));
    setTimeout(loadLater, LATER_MS);
    if (broker.connection === null) {
      Dom.setText(Dom.byId("empty-title"), "No broker");
      Dom.setText(Dom.byId("empty-text"), Condition.sentence(broker.problem));
      Dom.setHidden(Dom.byId("link"), true);
      return;
    }
    route();
    addEventListener("hashchange", () => {
      route();
      window.scrollTo(0, 0);
      Dom.byId("main").focus({ preventScroll: true });
    });
    Dom.byId("skip").addEventListener("click", (event) => {
      event.preventDefault(); // what follows the # names a room
      Dom.byId("main").focus();
    });
    addEventListener("resize", touch);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", touch);
    broker.connection.listen(follow, receive);
    setInterval(touch, STILL_MS);
  }

  function loadLater() {
    if (whole) return;
    whole = true;
    const scripts = inOrder(Dom.byId("later").content);
    scripts.querySelector("script:last-of-type").addEventListener("load", () => {
      document.documentElement.dataset.whole = "";
    });
    document.body.append(scripts);
  }

  /* Loads what not everybody needs (index.html, `with-...`), once, after what that itself needs. */
  function want(name) {
    if (wanted.has(name)) return;
    wanted.add(name);
    const { content, dataset } = Dom.byId(`with-${name}`);
    if (dataset.after) want(dataset.after);
    document.body.append(inOrder(content));
  }

  /* Returns a template's scripts, which run in the order in which they are asked for. */
  function inOrder(content) {
    const scripts = content.cloneNode(true);
    for (const script of scripts.querySelectorAll("script")) script.async = false;
    return scripts;
  }

  function route() {
    const device = location.hash.slice(1);
    store.pinned = Payloads.isDevice(device) ? device : null;
    touch();
  }

  function follow(told) {
    if (link.state === "up" && told.state !== "up") lostAtMs = Date.now();
    if (told.state === "up") lostAtMs = 0;
    if (told.state === "refused") want("login");
    link = { ...told, lostAtMs };
    for (const listener of linkListeners) listener(link);
    touch();
  }

  function receive(topic, bytes, retained, stamp) {
    const message = Payloads.parse(topic, bytes, stamp);
    if (message === null) return;
    store.apply(message, retained, Date.now());
    for (const listener of messageListeners) listener(message, retained, store);
    if (store.pinned === null || message.device === store.pinned) touch();
  }

  /* Draws soon: at once after a pause, else when the last time is DRAW_EVERY_MS ago. */
  function touch() {
    if (scheduled || broker.connection === null) return;
    scheduled = true;
    setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawnAt + DRAW_EVERY_MS - performance.now()));
  }

  function draw() {
    const nowMs = Date.now();
    const steadyMs = performance.now(); // does not jump when the clock is set
    scheduled = false;
    drawnAt = steadyMs;
    const sensor = chosen();
    const linkUp = link.state === "up";
    showFrame(sensor, linkUp);
    showSignIn(broker.connection, linkUp);
    const context = { store, link, linkUp, sensor, nowMs, steadyMs };
    if (sensor !== null) {
      context.condition = Condition.of(sensor, nowMs);
      for (const view of roomViews) view.update(sensor, context);
    }
    for (const view of views) view.update(context);
    const title = sensor ? `${linkUp ? context.condition.word : "disconnected"} · ${sensor.name} · roomtone` : "roomtone";
    if (document.title !== title) document.title = title;
    if (whole && broker.connection.recorder !== "") want("history");
    if (whole && sensor?.lessons) want("lessons");
    if (!whole && store.sensors.size > 0) setTimeout(loadLater); // after this has been painted
  }

  /* A broker that lets everybody see and command its sensors has no names to sign in with. */
  function showSignIn({ signedIn, denied }, linkUp) {
    if (denied || link.state === "refused") open = false;
    else if (linkUp && !signedIn && store.sensors.size > 0) open = true;
    Dom.setHidden(Dom.byId("sign-in"), DEMO || (open && !signedIn));
  }

  /* The sensor whose page is open: the one named after #, or the only one. */
  function chosen() {
    if (store.pinned !== null) return store.sensors.get(store.pinned) ?? null;
    return store.sensors.size === 1 ? store.sensors.values().next().value : null;
  }

  function showFrame(sensor, linkUp) {
    const many = store.pinned === null && store.sensors.size > 1;
    Dom.setHidden(Dom.byId("rooms"), !many);
    Dom.setHidden(Dom.byId("room"), sensor === null);
    Dom.setHidden(Dom.byId("empty"), many || sensor !== null);
    Dom.setHidden(Dom.byId("back"), store.sensors.size < 2);
    if (sensor) Dom.setText(Dom.byId("room-title"), sensor.name);
    const words = { connecting: "connecting", up: "connected", down: "disconnected", refused: "sign-in needed" };
    Dom.setAttribute(Dom.byId("link"), "data-link", link.state);
    Dom.setText(Dom.byId("link-word"), words[link.state]);
    const missing = store.pinned !== null && linkUp;
    Dom.setText(Dom.byId("empty-title"), missing ? "No such room" : linkUp ? "Listening for sensors" : "No link yet");
    const name = missing ? Format.deviceName(store.pinned) : "";
    const text = missing ? `Nothing has come from “${name}” yet.` : "A sensor appears here as soon as it speaks to this broker.";
    Dom.setText(Dom.byId("empty-text"), text);
  }

  return {
    start,
    touch,
    want,
    addView: (view) => (views.push(view), touch()),
    addRoomView: (view) => (roomViews.push(view), touch()),
    onLink: (listener) => (linkListeners.push(listener), listener(link)),
    onMessage: (listener) => messageListeners.push(listener),
  };
})();

Page.addRoomView(NowCard);
Page.start();
