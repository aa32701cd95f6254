/* The border: bytes from the broker become checked, bounded values, or nothing. Everything behind it may trust them.
 *
 * Whatever has a wrong type, is too long, or is not known is ignored: a field where the message makes sense without it,
 * else the message. */
"use strict";

const Payloads = (() => {
  const DEVICE = /^[a-z0-9-]{1,64}$/;
  const LABEL = /^[\p{L}\p{N}][\p{L}\p{N} _-]{0,31}$/u;
  const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
  /* Control characters, and those that turn the direction of what follows. */
  const UNPRINTABLE = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
  const MAX_BYTES = { status: 16, listening: 16, state: 8192, event: 4096, health: 8192, timeline: 200_000, recent: 200_000, lessons: 32_768, settings: 4096, model: 4096 };
  const CLOCK = /^([01]\d|2[0-3]):[0-5]\d$/;
  const LEVELS = ["debug", "info", "warning", "error"];
  const SETTINGS = ["sensitivity", "quiet_hours", "state_interval_s", "log_level"];
  const RESULTS = ["none", "offered", "trying", "installed", "refused", "went-back"];
  const MAX_RUNS = 2000;
  const MAX_SCORES = 16;
  const MAX_TAUGHT = 100;
  const MAX_LABELS = 64;
  const UUID7 = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
  const utf8 = new TextDecoder("utf-8", { fatal: true });

  /* Returns {device, kind, value}, or null. `value` is null where a retained message was taken away. `stamp`: the time
   * that MQTT has beside a bare word, if any. */
  function parse(topic, bytes, stamp) {
    const [root, device, kind, ...rest] = topic.split("/", 4);
    if (root !== "roomtone" || rest.length || !DEVICE.test(device) || !Object.hasOwn(READERS, kind)) return null;
    if (bytes.length === 0) return { device, kind, value: null };
    if (bytes.length > MAX_BYTES[kind]) return null;
    let value;
    try {
      value = READERS[kind](utf8.decode(bytes), stamp);
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) return null;
      throw error;
    }
    return value === null ? null : { device, kind, value };
  }

  function json(text) {
    const value = JSON.parse(text);
    return isObject(value) ? value : {};
  }

  function runsOf(text) {
    const raw = json(text);
    if (!Array.isArray(raw.runs)) return null;
    const runs = [];
    for (const run of raw.runs.slice(-MAX_RUNS)) {
      if (!Array.isArray(run)) continue;
      const [start, name, confidence] = [time(run[0]), label(run[1]), ratio(run[2])];
      if (start !== null && name !== null) runs.push({ start, label: name, confidence });
    }
    return { ts: time(raw.ts), runs };
  }

  const READERS = {
    status: (text) => oneOf(text, "online", "offline"),
    listening: (text, stamp) => (oneOf(text, "ON", "OFF") === null ? null : { position: text, since: time(stamp) }),

    state(text) {
      const raw = json(text);
      const state = {
        ts: time(raw.ts),
        emotion: label(raw.emotion),
        confidence: ratio(raw.confidence),
        mood: label(raw.mood),
        moodConfidence: ratio(raw.mood_confidence),
        since: time(raw.since),
        scores: scores(raw.scores),
        arousal: signed(raw.arousal),
        valence: signed(raw.valence),
        speechRatio: ratio(raw.speech_ratio),
        snrDb: number(raw.snr_db),
        levelDbfs: number(raw.level_dbfs),
        clippedRatio: ratio(raw.clipped_ratio),
        microphone: words(raw.microphone, 40),
        model: words(raw.model, 80),
        seq: number(raw.seq),
      };
      return state.ts === null || state.emotion === null ? null : state;
    },

    event(text) {
      const raw = json(text);
      const event = {
        id: words(raw.event_id, 64),
        ts: time(raw.ts),
        label: label(raw.event_type),
        confidence: ratio(raw.confidence),
        late: raw.late === true,
        previousMs: number(raw.previous_duration_ms),
      };
      return event.ts === null || event.label === null ? null : event;
    },

    timeline: runsOf,
    recent: runsOf,

    health(text) {
      const raw = json(text);
      const [microphone, broker] = [raw.microphone, raw.broker].map((part) => (isObject(part) ? part : {}));
      const health = {
        ts: time(raw.ts),
        version: words(raw.version, 40),
        uptimeS: number(raw.uptime_s),
        cpuRatio: number(raw.cpu_ratio),
        rssMb: number(raw.rss_mb),
        temperatureC: number(raw.temperature_c),
        realtimeFactor: number(raw.realtime_factor),
        droppedBlocks: number(raw.dropped_blocks),
        inferenceMs: percentiles(raw.inference_ms),
        latencyMs: percentiles(raw.latency_ms),
        outboxDepth: number(raw.outbox_depth),
        outboxDropped: number(raw.outbox_dropped),
        outboxProblem: words(raw.outbox_problem, 200),
        roomUtterances: number(raw.room_utterances),
        loudestMinuteDb: number(raw.loudest_minute_db),
        reconnects: number(raw.reconnects),
        problem: words(broker.problem, 200),
        lastProblem: words(broker.last_problem, 200),
        lastProblemTs: time(broker.last_problem_ts),
        away: words(broker.away, 200),
        microphone: { state: words(microphone.state, 40), detail: words(microphone.detail, 200) },
      };
      return health.ts === null ? null : health;
    },

    lessons(text) {
      const raw = json(text);
      const lessons = {
        ts: time(raw.ts),
        teachable: raw.teachable === true,
        labels: list(raw.labels, MAX_LABELS, label),
        perLabel: counts(raw.per_label),
        count: number(raw.count) ?? 0,
        rightBefore: ratio(raw.right_before),
        rightAfter: ratio(raw.right_after),
        chanceBefore: ratio(raw.chance_before),
        chanceAfter: ratio(raw.chance_after),
        inUse: raw.in_use === true,
        taught: list(raw.recent, MAX_TAUGHT, taught),
        ofOtherModels: number(raw.of_other_models) ?? 0,
        problem: words(raw.problem, 200),
        answer: answer(raw.answer),
      };
      return lessons.ts === null ? null : lessons;
    },

    settings(text) {
      const raw = json(text);
      const settings = {
        ts: time(raw.ts),
        name: words(raw.name, 64),
        held: held(raw),
        set: new Set(list(raw.set, MAX_LABELS, (name) => (SETTINGS.includes(name) ? name : null))),
        configured: held(raw.configured),
        calibration: calibration(raw.calibration),
        problem: words(raw.problem, 200),
        answer: answer(raw.answer),
      };
      return settings.ts === null ? null : settings;
    },

    model(text) {
      const raw = json(text);
      const [installed, offered] = [raw.installed, raw.offered].map((file) => (isObject(file) ? words(file.model, 80) : null));
      const model = { ts: time(raw.ts), installed, offered, result: oneOf(raw.result, ...RESULTS), reason: words(raw.reason, 200) };
      return model.ts === null || installed === null ? null : model;
    },
  };

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const oneOf = (text, ...allowed) => (allowed.includes(text) ? text : null);
  const between = (value, least, most) => (typeof value === "number" && value >= least && value <= most ? value : null);
  const number = (value) => (typeof value === "number" && Math.abs(value) < 1e15 ? value : null);
  const label = (value) => (typeof value === "string" && value.length <= 32 && LABEL.test(value) ? value : null);

  function ratio(value) {
    const known = number(value);
    return known === null ? null : Math.min(1, Math.max(0, known));
  }

  /* -1 to 1. */
  function signed(value) {
    const known = number(value);
    return known === null ? null : Math.min(1, Math.max(-1, known));
  }

  /* Milliseconds since 1970 from RFC 3339. */
  function time(value) {
    if (typeof value !== "string" || value.length > 40 || !TIME.test(value)) return null;
    const ms = Date.parse(value);
    return Number.isFinite(ms) ? ms : null;
  }

  function words(value, length) {
    if (typeof value !== "string") return null;
    const clean = value.slice(0, 4 * length).replace(UNPRINTABLE, " ").trim();
    return clean === "" ? null : [...clean].slice(0, length).join("");
  }

  function scores(value) {
    const known = new Map();
    if (!isObject(value)) return known;
    for (const name in value) {
      if (known.size === MAX_SCORES) break;
      const [key, score] = [label(name), ratio(value[name])];
      if (key !== null && score !== null) known.set(key, score);
    }
    return known;
  }

  /* Those of an array that `read` makes sense of. */
  function list(value, most, read) {
    return Array.isArray(value) ? value.slice(-most).map(read).filter((each) => each !== null) : [];
  }

  function counts(value) {
    const known = new Map();
    if (!isObject(value)) return known;
    for (const name in value) {
      if (known.size === MAX_LABELS) break;
      const [key, count] = [label(name), number(value[name])];
      if (key !== null && count !== null) known.set(key, count);
    }
    return known;
  }

  /* A lesson: `at` is when the change was that it corrects, which the id of its event tells; null where that is none. */
  function taught(value) {
    if (!isObject(value)) return null;
    const [id, name] = [words(value.event_id, 64), label(value.label)];
    return id === null || name === null ? null : { id, at: changedAt(id), label: name };
  }

  function changedAt(id) {
    const [, high, low] = UUID7.exec(id) ?? [];
    return high === undefined ? null : parseInt(high + low, 16);
  }

  /* What became of a command. */
  function answer(value) {
    if (!isObject(value)) return null;
    const told = { done: value.done === true, reason: words(value.reason, 200), ts: time(value.ts) };
    return told.ts === null ? null : { ...told, label: label(value.label), insteadOf: label(value.instead_of) };
  }

  /* Settings by their names on the wire, each null where it is none that can be. */
  function held(value) {
    const raw = isObject(value) ? value : {};
    return {
      sensitivity: between(raw.sensitivity, 0, 100),
      quiet_hours: hours(raw.quiet_hours),
      state_interval_s: between(raw.state_interval_s, 1, 60),
      log_level: LEVELS.includes(raw.log_level) ? raw.log_level : null,
    };
  }

  function hours(value) {
    if (!isObject(value) || ![value.start, value.end].every((each) => typeof each === "string" && CLOCK.test(each))) return null;
    return { start: value.start, end: value.end, time_zone: words(value.time_zone, 64) ?? "UTC" };
  }

  function calibration(value) {
    const raw = isObject(value) ? value : {};
    return {
      state: ["running", "done", "spoken", "interrupted"].includes(raw.state) ? raw.state : "none",
      ts: time(raw.ts),
      floorDbfs: number(raw.floor_dbfs),
      restlessDb: number(raw.restless_db),
    };
  }

  function percentiles(value) {
    const raw = isObject(value) ? value : {};
    return { p50: number(raw.p50), p99: number(raw.p99), worst: number(raw.worst) };
  }

  return { parse, isDevice: (text) => DEVICE.test(text), KINDS: Object.keys(READERS) };
})();
