/* How things are said and shown: labels (order, tone, dash, face), times, durations and figures. */
"use strict";

/* A label of a model of one's own gets a spare tone. */

const Labels = (() => {
  const QUIET = "quiet";
  const UNKNOWN = "unknown";
  const EMOTIONS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];
  const KNOWN = new Set([...EMOTIONS, UNKNOWN, QUIET]);
  const SPARE_TONES = 4;
  const DASHES = {
    angry: [],
    disgust: [8, 4],
    fear: [2, 3],
    happy: [],
    neutral: [12, 4, 2, 4],
    sad: [6, 3],
    surprise: [3, 2, 8, 2],
  };

  function tone(label) {
    if (KNOWN.has(label)) return label;
    let sum = 0;
    for (let i = 0; i < label.length; i += 1) sum = (sum * 31 + label.charCodeAt(i)) % 9973;
    return `spare-${sum % SPARE_TONES}`;
  }

  /* Reads the tone from the style sheet, so that light and dark stay in one place. */
  function colour(label) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--tone-${tone(label)}`).trim() || "gray";
  }

  /* The sensor's own figure for an emotion, or null: `unknown` says that none stands out, and `quiet` is no emotion. */
  function surely(label, confidence) {
    return label === UNKNOWN || label === QUIET ? null : confidence;
  }

  /* The same in words, or nothing. Not “sure”: of strangers' voices fewer are right than the figure says. */
  function sureness(label, confidence) {
    return guess(surely(label, confidence));
  }

  function guess(ratio) {
    return ratio === null ? "" : `a guess (${Format.percent(ratio)})`;
  }

  /* What a label means, where the word alone does not say it. */
  function meaning(label) {
    if (label === QUIET) return "nobody speaks";
    if (label === UNKNOWN) return "someone speaks, but no emotion stands out";
    return "";
  }

  return {
    QUIET,
    UNKNOWN,
    EMOTIONS,
    tone,
    colour,
    meaning,
    surely,
    sureness,
    guess,
    face: (label) => (KNOWN.has(label) ? label : "other"),
    dash: (label) => DASHES[label] || [4, 4],
    /* Known labels first, in their order; others after them by name. */
    inOrder: (labels) =>
      [...labels].sort((a, b) => {
        const i = EMOTIONS.indexOf(a);
        const j = EMOTIONS.indexOf(b);
        if (i < 0 && j < 0) return a < b ? -1 : 1;
        return (i < 0 ? EMOTIONS.length : i) - (j < 0 ? EMOTIONS.length : j);
      }),
  };
})();
/* Times, durations and figures. */
const Format = (() => {
  const SECOND = 1000;
  const MINUTE = 60 * SECOND;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;
  const minuteClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const secondClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dayName = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });

  function duration(ms) {
    const t = Math.max(0, ms);
    if (t < SECOND) return "a moment";
    if (t < MINUTE) return `${Math.floor(t / SECOND)} s`;
    if (t < HOUR) return `${Math.floor(t / MINUTE)} min`;
    if (t < 2 * DAY) return `${Math.floor(t / HOUR)} h ${String(Math.floor((t % HOUR) / MINUTE)).padStart(2, "0")} min`;
    return `${Math.floor(t / DAY)} days`;
  }

  /* The day a moment lies on, as far as it needs saying: nothing for today. */
  function day(ms, now) {
    const midnight = new Date(now).setHours(0, 0, 0, 0);
    if (ms >= midnight) return "";
    return ms >= midnight - DAY ? "yesterday" : dayName.format(ms);
  }

  /* A moment by the clock, with its day where that is not today. */
  function moment(ms, now) {
    return `${day(ms, now)} ${minuteClock.format(ms)}`.trim();
  }

  function number(value, digits, unit) {
    return value === null ? "–" : `${value.toFixed(digits)}${unit ? ` ${unit}` : ""}`;
  }

  return {
    SECOND,
    MINUTE,
    HOUR,
    DAY,
    duration,
    day,
    moment,
    number,
    clock: (ms) => minuteClock.format(ms),
    clockWithSeconds: (ms) => secondClock.format(ms),
    percent: (ratio) => `${Math.round(ratio * 100)} %`,
    deviceName: (device) => device.replaceAll("-", " ").trim() || device,
  };
})();
