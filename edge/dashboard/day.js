/* The last 24 hours: the ribbon, a moment of it in words (by pointer or arrow keys), and the time each label held. */
"use strict";

/* The ribbon's drawing: time runs to the right; a bar is as tall as its share of speech, coloured by what was heard. */
const Ribbon = (() => {
  const LEAST_HEIGHT = 0.16; // of the ribbon, so that a few seconds in a day are seen

  /* Returns `count` bins over [from, to): {known, speech, byLabel} in ms. */
  function bins(spans, from, to, count) {
    const step = (to - from) / count;
    const made = Array.from({ length: count }, () => ({ known: 0, speech: 0, byLabel: new Map() }));
    for (const span of spans) {
      if (Past.isGap(span)) continue;
      const first = Math.max(0, Math.floor((span.start - from) / step));
      const last = Math.min(count - 1, Math.floor((span.end - from) / step));
      for (let i = first; i <= last; i += 1) {
        const held = Math.min(span.end, from + (i + 1) * step) - Math.max(span.start, from + i * step);
        if (held <= 0) continue;
        made[i].known += held;
        if (span.label === Labels.QUIET) continue;
        made[i].speech += held;
        made[i].byLabel.set(span.label, (made[i].byLabel.get(span.label) ?? 0) + held);
      }
    }
    return made;
  }

  /* Draws into the canvas at its own size on the page; `bar` and `gap` are the widths of a bar and between two, px. */
  function draw(canvas, spans, from, to, { bar = 3, gap = 1 } = {}) {
    const { width, height } = canvas.getBoundingClientRect();
    if (width < 1 || height < 1) return;
    const scale = devicePixelRatio || 1;
    const [pixelsWide, pixelsHigh] = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== pixelsWide) canvas.width = pixelsWide;
    if (canvas.height !== pixelsHigh) canvas.height = pixelsHigh;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const count = Math.max(1, Math.floor((width + gap) / (bar + gap)));
    const pitch = (width + gap) / count;
    const colours = new Map();
    const colour = (label) => colours.get(label) ?? colours.set(label, Labels.colour(label)).get(label);
    bins(spans, from, to, count).forEach((bin, i) => {
      const x = i * pitch;
      if (bin.known === 0) return;
      if (bin.speech === 0) {
        context.fillStyle = colour(Labels.QUIET);
        context.fillRect(x, height / 2 - 1, bar, 2);
        return;
      }
      const share = Math.sqrt(bin.speech / ((to - from) / count));
      const tall = height * (LEAST_HEIGHT + (1 - LEAST_HEIGHT) * Math.min(1, share));
      let y = (height - tall) / 2;
      context.save();
      context.beginPath();
      context.roundRect(x, y, bar, tall, bar / 2);
      context.clip();
      for (const [label, held] of [...bin.byLabel].sort((a, b) => b[1] - a[1])) {
        const part = (tall * held) / bin.speech;
        context.fillStyle = colour(label);
        context.fillRect(x, y, bar, part + 0.5);
        y += part;
      }
      context.restore();
    });
  }

  return { draw };
})();

const Day = (() => {
  const MINUTES = 24 * 60;
  const CHECK_EVERY_MS = 900;
  const DRAW_EVERY_MS = 30_000;
  const STEPS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -60, PageUp: 60 };
  const legend = new Map();
  let spans = [];
  let nowMs = 0;
  let holds = false; // whether the last of them lasts until now
  let minutesAgo = null; // the moment chosen; null is none
  let drawnKey = "";
  let checkedAt = 0;
  let drawnAt = 0;

  function update(sensor, { nowMs: now, steadyMs }) {
    nowMs = now;
    if (sensor.device === drawnKey.split(" ", 1)[0] && steadyMs - checkedAt < CHECK_EVERY_MS) return;
    checkedAt = steadyMs;
    const key = `${sensor.device} ${sensor.past.version} ${sensor.status}`;
    const box = Dom.byId("ribbon-canvas").getBoundingClientRect();
    const size = `${box.width} ${box.height} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
    if (`${key} ${size}` === drawnKey && steadyMs - drawnAt < DRAW_EVERY_MS) return;
    [drawnKey, drawnAt] = [`${key} ${size}`, steadyMs];
    holds = sensor.holds(now);
    spans = sensor.past.spans(now - DAY_MS, sensor.knownUntil(now));
    Ribbon.draw(Dom.byId("ribbon-canvas"), spans, now - DAY_MS, now);
    showHours(now);
    showLegend();
    showExtent(now);
    showMoment();
  }

  /* From when on anything is known: what is empty before that is no time in which nobody listened. */
  function showExtent(now) {
    const from = spans[0]?.start ?? null;
    const since = from !== null && from - (now - DAY_MS) > Format.MINUTE ? Format.moment(from, now) : "";
    Dom.setText(Dom.byId("day-empty"), from === null ? "Nothing is known of it yet." : `Nobody listened${within(since, now)}.`);
    Dom.setHidden(Dom.byId("day-empty"), legend.size > 0);
    Dom.setText(Dom.byId("day-known"), since && `Nothing is known before ${since}.`);
  }

  function within(since, now) {
    if (holds) return since && ` since ${since}`;
    const until = `to ${Format.moment(spans.at(-1).end, now)}`;
    return since ? ` from ${since} ${until}` : ` up ${until}`;
  }

  function showHours(now) {
    const box = Dom.byId("hours");
    const hours = [];
    const next = new Date(now - DAY_MS);
    next.setMinutes(0, 0, 0);
    for (let at = next.getTime() + Format.HOUR; at <= now; at += Format.HOUR) {
      if (new Date(at).getHours() % 3 !== 0) continue;
      const place = (at - (now - DAY_MS)) / DAY_MS;
      if (place < 0.03 || place > 0.97) continue;
      const mark = Dom.make("span", {}, Format.clock(at));
      mark.style.setProperty("--place", place);
      hours.push(mark);
    }
    box.replaceChildren(...hours);
  }

  function showLegend() {
    const held = new Map();
    for (const span of spans) if (!Past.isGap(span)) held.set(span.label, (held.get(span.label) ?? 0) + span.end - span.start);
    const wanted = [...held].sort((a, b) => rank(a) - rank(b)).slice(0, 12);
    if ([...legend.keys()].join() !== wanted.map(([label]) => label).join()) {
      legend.clear();
      for (const [label] of wanted) {
        const time = Dom.make("span", { class: "value" });
        const name = Dom.make("span", {}, label);
        const item = Dom.make("li", { "data-tone": Labels.tone(label) }, Dom.icon(Labels.face(label), "face"), name, time);
        legend.set(label, { item, time });
      }
      Dom.byId("legend").replaceChildren(...[...legend.values()].map((each) => each.item));
    }
    for (const [label, ms] of wanted) Dom.setText(legend.get(label).time, Format.duration(ms));
  }

  /* Longest first; quiet, which is nearly always the longest, last. */
  const rank = ([label, ms]) => (label === Labels.QUIET ? 1 : -ms);

  function showMoment() {
    const ribbon = Dom.byId("ribbon");
    const cursor = Dom.byId("ribbon-cursor");
    const ago = minutesAgo ?? 0;
    const words = moment(nowMs - ago * Format.MINUTE);
    Dom.setAttribute(ribbon, "aria-valuenow", String(MINUTES - ago));
    Dom.setAttribute(ribbon, "aria-valuetext", words);
    Dom.setText(Dom.byId("ribbon-readout"), minutesAgo === null ? "" : words);
    Dom.setHidden(cursor, minutesAgo === null);
    cursor.style.setProperty("--place", 1 - ago / MINUTES);
  }

  function moment(at) {
    const span = spans.find((each) => each.start <= at && at < each.end) ?? (at >= nowMs && holds ? spans.at(-1) : undefined);
    const clock = Format.moment(at, nowMs);
    if (span === undefined) return `${clock}: nothing known`;
    if (Past.isGap(span)) return `${clock}: nobody listened, for ${Format.duration(span.end - span.start)}`;
    return `${clock}: ${[span.label, Labels.sureness(span.label, span.confidence), `for ${Format.duration(span.end - span.start)}`].filter(Boolean).join(", ")}`;
  }

  function choose(minutes) {
    minutesAgo = minutes === null ? null : Math.min(MINUTES, Math.max(0, Math.round(minutes)));
    showMoment();
  }

  /* The arrow keys go by five minutes, with Shift from change to change. */
  function key(event) {
    const ago = minutesAgo ?? 0;
    if (event.key === "Home") choose(MINUTES);
    else if (event.key === "End") choose(0);
    else if (event.key === "Escape") choose(null);
    else if (event.key in STEPS) choose(event.shiftKey ? beside(ago, Math.sign(STEPS[event.key])) : ago - STEPS[event.key]);
    else return;
    event.preventDefault();
  }

  function beside(ago, direction) {
    const at = nowMs - ago * Format.MINUTE;
    const starts = spans.map((span) => span.start + Format.MINUTE / 2);
    const next = direction > 0 ? starts.find((start) => start > at + Format.MINUTE) : starts.findLast((start) => start < at - Format.MINUTE);
    return next === undefined ? ago : (nowMs - next) / Format.MINUTE;
  }

  function start() {
    const ribbon = Dom.byId("ribbon");
    const point = (event) => {
      const { left, width } = ribbon.getBoundingClientRect();
      choose((1 - (event.clientX - left) / width) * MINUTES);
    };
    ribbon.addEventListener("pointermove", point);
    ribbon.addEventListener("pointerdown", point);
    ribbon.addEventListener("pointerleave", () => choose(null));
    ribbon.addEventListener("blur", () => choose(null));
    ribbon.addEventListener("keydown", key);
  }

  return { start, update };
})();

Day.start();
Page.addRoomView(Day);
