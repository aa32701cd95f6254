/* Whether a sensor's word can be believed just now, and if not, why. */
"use strict";

const Condition = (() => {
  const STALE_MS = 90_000;
  /* The reason codes a sensor gives for its microphone; `detail` of its health says more. */
  const REASONS = {
    ok: "working",
    starting: "waiting for the microphone to answer",
    off: "listening is switched off",
    "quiet-hours": "these are quiet hours",
    absent: "there is no such microphone",
    denied: "the microphone may not be opened by this user",
    busy: "another program holds the microphone",
    "rate-refused": "the microphone takes no sample rate we know",
    stalled: "the microphone stopped delivering sound",
    "server-gone": "the sound server does not answer",
    "host-error": "the sound system reports an error",
    "not-started": "the command that is to deliver sound cannot be started",
    ended: "the command that delivers sound ended",
    "not-sound": "what the command delivers is no sound",
    flooding: "the command delivers sound faster than time passes",
    zeros: "the microphone delivers digital silence",
    constant: "the microphone delivers one constant value",
    clipped: "the microphone is overdriven",
  };

  /* The microphone as the newer of state and health tells it: {code, reason, detail}; code null where neither did. */
  function microphone(sensor) {
    const { state, health } = sensor;
    const told = health?.microphone ?? { state: null, detail: null };
    const stateIsNewer = state?.microphone && (told.state === null || state.ts >= health.ts);
    const code = stateIsNewer ? state.microphone : told.state;
    if (code === null) return { code: null, reason: "not known yet", detail: "" };
    const reason = Object.hasOwn(REASONS, code) ? REASONS[code] : code.replaceAll(/[-_]/g, " ");
    return { code, reason, detail: code === told.state && told.detail ? told.detail : "" };
  }

  /* Returns {kind, word, detail, heard}; kind is live, off, starting, deaf, offline, stale or waiting. */
  function of(sensor, nowMs) {
    const heard = sensor.state ? `Last heard: ${sensor.state.emotion}, ${Format.clock(sensor.state.ts)}` : "";
    const is = (kind, word, detail, last = "") => ({ kind, word, detail, heard: last });
    const ear = microphone(sensor);
    if (sensor.status === "offline") return is("offline", "offline", "The sensor has no link to the broker.", heard);
    const silenced = ear.code === "off" || ear.code === "quiet-hours";
    if (sensor.listening === "OFF" || silenced) // no remedy: nothing is wrong
      return is("off", "not listening", sentence(whyOff(sensor, silenced ? ear.code : "off", nowMs)));
    if (ear.code === "starting") return is("starting", "starting", sentence(ear.detail || ear.reason));
    if (ear.code !== null && ear.code !== "ok") return is("deaf", "deaf", sentence(ear.detail || ear.reason), heard);
    if (sensor.state === null) return is("waiting", "waiting", "It has not said anything yet.");
    const silentMs = nowMs - sensor.stateAt;
    if (silentMs > STALE_MS) return is("stale", "no news", `Nothing came for ${Format.duration(silentMs)}.`, heard);
    return is("live", Mood.word(sensor.state), Labels.meaning(sensor.state.emotion));
  }

  /* Why nobody listens on purpose, and since or until when, as far as that is known. */
  function whyOff({ listening, switchedAt, settings }, code, nowMs) {
    if (code === "off" && listening === "OFF" && switchedAt !== null) return `${REASONS.off} since ${Format.moment(switchedAt, nowMs)}`;
    const hours = settings?.held.quiet_hours ?? null;
    return code === "quiet-hours" && hours !== null ? `${REASONS[code]}, until ${hours.end} (${hours.time_zone})` : REASONS[code];
  }

  function sentence(text) {
    if (!text) return "";
    const begun = text[0].toUpperCase() + text.slice(1);
    return /[.!?]$/.test(begun) ? begun : `${begun}.`;
  }

  /* For how long the present label holds; right also where the sensor's clock is not this page's. */
  function heldMs(sensor, nowMs) {
    const { state } = sensor;
    if (state.since === null) return null;
    return Math.max(0, state.ts - state.since + (nowMs - sensor.stateAt));
  }

  return { of, microphone, heldMs, sentence };
})();
