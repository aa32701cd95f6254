/* How rooms were: week, month and year, asked of whoever keeps a history (deploy/contract.md, `history`).
 *
 * An answer is checked here, before anything of it is shown: what is not as it should be is no answer. */
"use strict";

const LookingBack = (() => {
  const SPANS = ["week", "month", "year"];
  const FRESH_MS = 5 * 60 * 1000; // then it is asked again
  const AGAIN_MS = 20 * 1000; // after a question without an answer
  const MAX_BYTES = 250_000;
  const MAX_STEPS = 400;
  const MAX_LABELS = 32;
  const WEEK_HOURS = 168;
  const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  const NAME = /^[a-z0-9-]{1,64}$/;
  const utf8 = new TextDecoder("utf-8", { fatal: true });

  /* Returns an answer of checked values; throws what says in words why it is none. */
  function read(bytes) {
    if (bytes.length > MAX_BYTES) throw new Error("the answer is too long");
    let raw;
    try {
      raw = JSON.parse(utf8.decode(bytes));
    } catch {
      throw new Error("the answer makes no sense");
    }
    if (typeof raw?.problem === "string") throw new Error(raw.problem.replace(/[^\x20-\x7e]/g, "?").slice(0, 200));
    const starts = list(raw?.starts, MAX_STEPS).map((text) => Date.parse(text));
    if (starts.some(Number.isNaN)) throw new Error("the answer makes no sense");
    const rooms = list(raw.rooms, 500).map((room) => ({
      name: NAME.test(room?.room) ? room.room : fail(),
      whole: course(room.whole, 1),
      course: course(room.course, starts.length),
      week: room.hours_of_week == null ? null : course(room.hours_of_week, WEEK_HOURS),
    }));
    return { starts, until: Date.parse(raw.ts), rooms, more: raw.more != null };
  }

  function fail() {
    throw new Error("the answer makes no sense");
  }

  const list = (value, most) => (Array.isArray(value) && value.length <= most ? value : fail());

  function course(raw, count) {
    const ratio = (value) => (typeof value === "number" && value >= 0 && value <= 1 ? value : fail());
    const column = (values) => (list(values, count).length === count ? values.map(ratio) : fail());
    const labels = Object.entries(raw?.labels ?? fail());
    if (labels.length > MAX_LABELS || labels.some(([label]) => label.length > 64)) fail();
    return { heard: column(raw.heard), labels: new Map(labels.map(([label, values]) => [label, column(values)])) };
  }

  const spoken = ({ labels }, at) => Math.min(1, [...labels.values()].reduce((sum, values) => sum + values[at], 0));

  function most({ labels }, at) {
    let best = null;
    for (const [label, values] of labels) if (values[at] > 0 && (best === null || values[at] > labels.get(best)[at])) best = label;
    return best;
  }

  /* A card with its own span; `room` is null for all of them side by side. */
  class Card {
    constructor(box) {
      this._box = box;
      this._note = box.querySelector(".history-note");
      this._courses = box.querySelector(".courses");
      this._legend = box.querySelector(".legend") ?? Dom.make("ul", { class: "legend", "aria-label": "Colours" });
      this._key = Dom.make("p", { class: "muted small" });
      this._courses.after(this._key);
      if (!this._legend.isConnected) this._key.after(this._legend);
      this._span = SPANS[0];
      this._asked = ""; // what was asked last
      this._dueMs = 0; // when it is asked again, by the steady clock
      this._answer = null;
      this._drawn = "";
      this._buttons = SPANS.map((span) => {
        const button = Dom.make("button", { type: "button", class: "plain" }, span);
        button.addEventListener("click", () => {
          this._span = span;
          Page.touch();
        });
        return button;
      });
      box.querySelector(".spans").append(...this._buttons);
    }

    show(room, { store, linkUp, steadyMs }) {
      this._store = store;
      this._buttons.forEach((button, i) => Dom.setAttribute(button, "aria-pressed", String(SPANS[i] === this._span)));
      const wanted = `${this._span} ${room}`;
      if (wanted !== this._asked) [this._answer, this._dueMs] = [null, 0];
      this._asked = wanted;
      const kept = broker.connection.recorder;
      if (kept === "online" && linkUp && steadyMs >= this._dueMs) this._ask(wanted, room, steadyMs);
      if (kept !== "online" && this._answer === null) {
        this._say(kept === "offline" ? "Who keeps the history is away just now." : "No history is kept here.");
      }
      for (const button of this._buttons) Dom.setHidden(button, kept === "" && this._answer === null);
      this._draw(room);
    }

    _ask(wanted, room, steadyMs) {
      this._dueMs = steadyMs + FRESH_MS;
      if (this._answer === null) this._say("Asking …");
      const question = { span: this._span, time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC" };
      broker.connection
        .ask(JSON.stringify(room === null ? question : { ...question, room }))
        .then(read)
        .then(
          (answer) => {
            if (wanted !== this._asked) return;
            this._answer = answer;
            this._drawn = "";
            this._say(answer.more ? "The first rooms, by their names." : "");
          },
          (error) => {
            if (wanted !== this._asked) return;
            this._dueMs = steadyMs + AGAIN_MS;
            if (this._answer === null) this._say(Condition.sentence(error.message));
          },
        )
        .finally(() => Page.touch());
    }

    _say(text) {
      Dom.setText(this._note, text);
    }

    _draw(room) {
      const key = `${this._asked} ${this._box.clientWidth} ${matchMedia("(prefers-color-scheme: dark)").matches} ${this._answer?.until}`;
      if (key === this._drawn) return;
      this._drawn = key;
      const rooms = this._answer?.rooms ?? [];
      this._courses.replaceChildren(...rooms.map((each) => this._row(each, room === null)));
      const colour = colours();
      rooms.forEach((each, i) => drawCourse(this._courses.children[i].querySelector("canvas"), each.course, colour));
      Dom.setText(this._key, rooms.some(anybodyListened) ? barsInWords(this._answer.starts) : "");
      if (room === null) {
        this._legend.replaceChildren(...tones(rooms));
        return;
      }
      const week = rooms[0]?.week ?? null;
      Dom.setHidden(this._box.querySelector(".week"), week === null);
      if (week !== null) {
        Dom.setText(this._box.querySelector(".week p"), "By the hour of the week: the stronger a colour, the more was spoken, mostly that. Pale: quiet. Nothing: nobody listened.");
        drawWeek(this._box.querySelector(".week-map"), week, colour);
      }
      this._legend.replaceChildren(...(rooms.length ? shares(rooms[0].whole) : []));
    }

    _row(each, named) {
      const name = named ? Dom.make("a", { class: "course-name", href: `#${each.name}` }, this._store.nameOf(each.name)) : Dom.make("span", { class: "course-name" }, "spoken");
      const words = inWords(each.whole, this._answer.until - this._answer.starts[0]);
      const canvas = Dom.make("canvas", { role: "img", "aria-label": `Course over the ${this._span}: ${words}` });
      const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
      const ends = Dom.make("p", { class: "course-ends" }, Dom.make("span", {}, day.format(this._answer.starts[0])), Dom.make("span", {}, day.format(this._answer.until)));
      return Dom.make("li", {}, name, canvas, ends, Dom.make("p", { class: "course-words" }, words));
    }
  }

  /* A small share of the time is told as how long it was. */
  function inWords(whole, spanMs) {
    if (whole.heard[0] === 0) return "nobody listened";
    const label = most(whole, 0);
    const said = label === null ? "nobody spoke" : `${percent(spoken(whole, 0))} of it spoken, mostly ${label}`;
    const [heard] = whole.heard;
    return `listened ${heard < 0.01 ? Format.duration(heard * spanMs) : `${percent(heard)} of the time`}, ${said}`;
  }

  const anybodyListened = ({ whole }) => whole.heard[0] > 0;

  /* What a course shows, of steps that begin then; the first of them may be shorter than the others. */
  function barsInWords([, second, third]) {
    const hours = (third - second) / 3_600_000;
    const step = hours < 12 ? "hour" : hours < 100 ? "day" : "week";
    return `A bar is one ${step}: the taller, the more was spoken, in the colours of what it was. A thin line: quiet. Nothing: nobody listened.`;
  }

  /* The colours of what rooms said. */
  function tones(rooms) {
    const heard = rooms.filter(anybodyListened).flatMap(({ whole }) => [...whole.labels].filter(([, [share]]) => share > 0));
    const labels = Labels.inOrder(new Set(heard.map(([label]) => label)));
    return labels.map((label) => Dom.make("li", {}, swatch(label), label));
  }

  /* A piece of the colour that a label's bars have, which its face need not have. */
  function swatch(label) {
    const made = Dom.make("span", { "aria-hidden": "true" });
    Object.assign(made.style, { width: "0.8rem", height: "0.8rem", borderRadius: "0.2rem", background: Labels.colour(label) });
    return made;
  }

  const percent = (ratio) => (ratio > 0 && ratio < 0.1 ? `${(100 * ratio).toFixed(1)} %` : Format.percent(ratio));

  function shares(whole) {
    const held = [[Labels.QUIET, [1 - spoken(whole, 0)]], ...whole.labels].filter(([, values]) => values[0] > 0);
    return held
      .sort((a, b) => b[1][0] - a[1][0])
      .slice(0, 12)
      .map(([label, values]) =>
        Dom.make("li", {}, swatch(label), label, Dom.make("span", { class: "value" }, percent(values[0]))),
      );
  }

  function sized(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    return { context, width, height };
  }

  /* Returns what gives a label's colour, asking the style sheet once for each. */
  function colours() {
    const known = new Map();
    return (label) => known.get(label) ?? known.set(label, Labels.colour(label)).get(label);
  }

  /* A bar a step, as tall as its share of speech against the most; a step in which nobody listened has none. */
  function drawCourse(canvas, told, colour) {
    const { context, width, height } = sized(canvas);
    const count = told.heard.length;
    const highest = Math.max(...told.heard.map((_, at) => spoken(told, at)), 0.01);
    const pitch = width / count;
    const bar = Math.max(1, pitch - (pitch > 4 ? 1 : 0));
    for (let at = 0; at < count; at += 1) {
      if (told.heard[at] === 0) continue;
      context.fillStyle = colour(Labels.QUIET);
      context.fillRect(at * pitch, height - 2, bar, 2);
      let y = height - 2;
      for (const [label, values] of told.labels) {
        const tall = ((height - 3) * values[at]) / highest;
        context.fillStyle = colour(label);
        context.fillRect(at * pitch, y - tall, bar, tall);
        y -= tall;
      }
    }
  }

  function drawWeek(canvas, week, colour) {
    const { context, width, height } = sized(canvas);
    const [left, foot] = [34, 16];
    const [wide, tall] = [(width - left) / 24, (height - foot) / 7];
    const hours = Array.from({ length: WEEK_HOURS }, (_, at) => at);
    const highest = Math.max(...hours.map((at) => spoken(week, at)), 0.01);
    const ink = getComputedStyle(canvas).color;
    context.font = "11px Figtree, sans-serif";
    for (const at of hours) {
      const [x, y] = [left + (at % 24) * wide, Math.floor(at / 24) * tall];
      if (week.heard[at] === 0) continue;
      const label = most(week, at);
      context.globalAlpha = label === null ? 0.25 : 0.25 + 0.75 * Math.sqrt(spoken(week, at) / highest);
      context.fillStyle = colour(label ?? Labels.QUIET);
      context.fillRect(x, y, wide - 1, tall - 1);
    }
    context.globalAlpha = 1;
    context.fillStyle = ink;
    DAYS.forEach((day, i) => context.fillText(day, 0, (i + 0.7) * tall));
    for (let hour = 0; hour < 24; hour += 3) context.fillText(String(hour).padStart(2, "0"), left + hour * wide, height - 3);
    const busiest = hours.reduce((best, at) => (spoken(week, at) > spoken(week, best) ? at : best), 0);
    const told = spoken(week, busiest) > 0 ? `most was spoken on ${DAYS[Math.floor(busiest / 24)]} at ${busiest % 24} h` : "nobody spoke";
    Dom.setAttribute(canvas, "aria-label", `Hours of the week: ${told}`);
  }

  const [room, all] = ["room-history", "all-history"].map((id) => new Card(Dom.byId(id)));
  return {
    updateRoom: (sensor, context) => room.show(sensor.device, context),
    update: (context) => {
      if (context.sensor === null && context.store.pinned === null && context.store.sensors.size > 1) all.show(null, context);
    },
  };
})();

Page.addRoomView({ update: LookingBack.updateRoom });
Page.addView(LookingBack);
