/* The last minutes of one sensor's probabilities, for the curve. */
"use strict";

class Trace {
  static SPAN_MS = 2 * 60 * 1000;
  static STEP_MS = 400;
  static MAX_POINTS = 400;
  static MAX_LABELS = 16;

  constructor() {
    this.labels = [];
    this._count = 0;
    this._timesMs = new Float64Array(Trace.MAX_POINTS);
    this._scores = new Map(); // label -> Float32Array, NaN where it has no score
  }

  /* Takes the scores (a Map, empty without speech) of a moment on this page's clock. */
  add(atMs, scores) {
    const last = this._count - 1;
    if (scores.size === 0 && (last < 0 || this._isPause(last))) return;
    if (scores.size > 0) this._learn(scores);
    if (!this._replacesLast(scores)) this._count += 1;
    if (this._count > Trace.MAX_POINTS) this._forget(Trace.MAX_POINTS / 4);
    this._timesMs[this._count - 1] = atMs;
    for (const [label, values] of this._scores) values[this._count - 1] = scores.get(label) ?? NaN;
  }

  /* uPlot's columns: seconds, then one column per label of `labels`, null where nobody spoke. */
  columns() {
    const seconds = Array.from(this._timesMs.subarray(0, this._count), (ms) => ms / 1000);
    const column = (label) => Array.from(this._scores.get(label).subarray(0, this._count), (v) => (v >= 0 ? v : null));
    return [seconds, ...this.labels.map(column)];
  }

  /* More often than STEP_MS the newest point moves along instead of leaving another behind. */
  _replacesLast(scores) {
    const last = this._count - 1;
    const fast = last > 0 && this._timesMs[last] - this._timesMs[last - 1] < Trace.STEP_MS;
    return fast && scores.size > 0 && !this._isPause(last) && !this._isPause(last - 1);
  }

  _isPause(i) {
    return [...this._scores.values()].every((values) => Number.isNaN(values[i]));
  }

  _learn(scores) {
    const fresh = [...scores.keys()].filter((label) => !this._scores.has(label));
    for (const label of fresh.slice(0, Trace.MAX_LABELS - this._scores.size))
      this._scores.set(label, new Float32Array(Trace.MAX_POINTS).fill(NaN));
    if (fresh.length) this.labels = Labels.inOrder(this._scores.keys());
  }

  _forget(count) {
    for (const values of [this._timesMs, ...this._scores.values()]) values.copyWithin(0, count);
    this._count -= count;
  }
}

/* The traces of all sensors. What came before this file did was retained, and tells nothing about the last minutes. */
const Traces = (() => {
  const traces = new Map();

  function take({ device, kind, value }, retained, store) {
    if (kind !== "state" || retained || value === null || !store.sensors.has(device)) return;
    if (!traces.has(device)) traces.set(device, new Trace());
    traces.get(device).add(Date.now(), value.scores);
    for (const known of traces.keys()) if (!store.sensors.has(known)) traces.delete(known);
  }

  const none = new Trace();
  return { take, of: (sensor) => traces.get(sensor.device) ?? none };
})();

Page.onMessage(Traces.take);
