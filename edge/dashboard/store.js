/* Everything known about every sensor, bounded. */
"use strict";

class Sensor {
  static LATE_MS = 10 * 60 * 1000; // for so long late events count as news

  constructor(device) {
    this.device = device;
    this.version = 0; // rises with each of its messages
    this.status = null; // "online" | "offline"
    this.state = null;
    this.tellsAffect = false; // it has told arousal and valence
    this.stateAt = 0; // the times ending in At are on this page's clock
    this.health = null;
    this.healthAt = 0;
    this.listening = null; // "ON" | "OFF"
    this.switchedAt = null; // when that was switched, on the sensor's clock; null where nobody knows
    this.lessons = null; // none from sensors that cannot be taught anything
    this.settings = null; // none from sensors that have none to be set
    this.model = null; // none from older sensors
    this.calibratesAt = 0; // when it last began to
    this.clockAheadMs = null; // of this page's, told by live messages
    this.late = { count: 0, at: 0 };
    this.past = new Past();
  }

  /* What people call it; its id in words where they gave it no name. */
  get name() {
    return this.settings?.name ?? Format.deviceName(this.device);
  }

  /* Whether its last word still holds: it would have said otherwise. */
  holds(nowMs) {
    return this.status === "online" && this.state !== null && nowMs - this.stateAt <= Past.STATES_APART_MS;
  }

  /* The moment up to which its last word holds, on its own clock: now, while it speaks. */
  knownUntil(nowMs) {
    if (this.state === null) return -Infinity;
    return this.state.ts + (this.holds(nowMs) ? Math.max(0, nowMs - this.stateAt) : 0);
  }
}

class Store {
  static MAX_SENSORS = 2_000;
  static MAX_COUNTED = 10_000;

  constructor() {
    this.sensors = new Map();
    this.pinned = null; // the device whose page is open: never displaced, never left out
    this._leftOut = new Set();
    this._sorted = null;
  }

  get leftOut() {
    return this._leftOut.size;
  }

  nameOf(device) {
    return this.sensors.get(device)?.name ?? Format.deviceName(device);
  }

  /* Takes one checked message; `retained` ones tell the past. */
  apply({ device, kind, value }, retained, nowMs) {
    if (kind === "status" && value === null) {
      this._drop(device);
      this._leftOut.delete(device);
      return;
    }
    if (value === null) return;
    const sensor = this.sensors.get(device) ?? this._admit(device, kind === "status" && value === "online");
    if (sensor === null) return;
    sensor.version += 1;
    this[`_${kind}`](sensor, value, retained, nowMs);
  }

  /* By their ids; the same array while there are the same sensors. */
  sorted() {
    this._sorted ??= [...this.sensors.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
    return this._sorted;
  }

  _drop(device) {
    if (this.sensors.delete(device)) this._sorted = null;
  }

  /* A newcomer that is online takes the place of one that is not; else what exceeds the bound is only counted. */
  _admit(device, online) {
    if (this.sensors.size >= Store.MAX_SENSORS && device !== this.pinned) {
      const idle = online ? [...this.sensors.values()].find((each) => this._canGo(each)) : undefined;
      if (idle === undefined) {
        if (this._leftOut.size < Store.MAX_COUNTED) this._leftOut.add(device);
        return null;
      }
      this._drop(idle.device);
      this._leftOut.add(idle.device);
    }
    this._leftOut.delete(device);
    const sensor = new Sensor(device);
    this.sensors.set(device, sensor);
    this._sorted = null;
    Past.shareAmong(this.sensors.size);
    return sensor;
  }

  _canGo(sensor) {
    return sensor.status !== "online" && sensor.device !== this.pinned;
  }

  _status(sensor, status) {
    sensor.status = status;
    if (status === "offline") sensor.past.lose();
  }

  _state(sensor, state, retained, nowMs) {
    const known = sensor.state;
    /* A broker that came back may hand out an older one than it did before. */
    if (retained && known && known.seq !== null && state.seq !== null && state.seq < known.seq) return;
    if (!retained) sensor.clockAheadMs = state.ts - nowMs;
    sensor.state = state;
    sensor.tellsAffect ||= state.arousal !== null && state.valence !== null;
    sensor.stateAt = retained ? Math.min(nowMs, state.ts - (sensor.clockAheadMs ?? 0)) : nowMs;
    sensor.past.setPresent(state);
  }

  _event(sensor, event, retained, nowMs) {
    if (!sensor.past.addEvent(event) || !event.late) return;
    const recent = nowMs - sensor.late.at < Sensor.LATE_MS;
    sensor.late = { count: recent ? sensor.late.count + 1 : 1, at: nowMs };
  }

  _timeline(sensor, timeline) {
    sensor.past.setTimeline(timeline);
  }

  _recent(sensor, recent) {
    sensor.past.setRecent(recent);
  }

  _health(sensor, health, retained, nowMs) {
    sensor.health = health;
    sensor.healthAt = retained ? Math.min(nowMs, health.ts - (sensor.clockAheadMs ?? 0)) : nowMs;
  }

  _listening(sensor, { position, since }) {
    sensor.listening = position;
    sensor.switchedAt = since;
  }

  _lessons(sensor, lessons) {
    sensor.lessons = lessons;
  }

  _model(sensor, model) {
    sensor.model = model;
  }

  _settings(sensor, settings, retained, nowMs) {
    const { state, ts } = settings.calibration;
    if (state === "running" && ts !== sensor.settings?.calibration.ts)
      sensor.calibratesAt = retained ? Math.min(nowMs, (ts ?? nowMs) - (sensor.clockAheadMs ?? 0)) : nowMs;
    sensor.settings = settings;
  }
}
