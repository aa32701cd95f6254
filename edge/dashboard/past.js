/* What one sensor said over the past day: the retained timeline, and what came since. */
"use strict";

const DAY_MS = 24 * 3600 * 1000;

class Past {
  static MAX_EVENTS = 500;
  /* The same change, told by the timeline, an event and the state, may differ by this much. */
  static SAME_MS = 1500;

  constructor() {
    this.version = 0;
    this._runs = [];
    this._events = new Map();
    this._present = null;
    this._heard = null;
    this._merged = null;
  }

  /* A run or event of `quiet` with confidence 0 stands for a time in which nobody listened. */
  static isGap(item) {
    return item.label === Labels.QUIET && item.confidence === 0;
  }

  setTimeline(runs) {
    this._runs = runs.map((run) => ({ ...run, late: false }));
    this._changed();
  }

  /* Returns false for an event known already (QoS 1 delivers at least once). */
  addEvent({ id, ts, label, confidence, late }) {
    const key = id ?? `${ts} ${label}`;
    if (this._events.has(key)) return false;
    this._add(key, { start: ts, label, confidence, late });
    return true;
  }

  /* The state knows since when its label holds, also where its event came before this page was open, and whether the
   * microphone works. */
  setPresent({ ts, emotion, since, microphone }) {
    const heard = microphone === null || microphone === "ok";
    if (this._heard !== null && this._heard !== heard)
      this._add(`heard ${ts}`, { start: ts, label: emotion, confidence: heard ? null : 0, late: false });
    this._heard = heard;
    const known = this._present;
    if (since === null || (known && known.label === emotion && Math.abs(known.start - since) < Past.SAME_MS)) return;
    this._present = { start: since, label: emotion, confidence: null, late: false, vague: true };
    this._add(`since ${since}`, this._present);
  }

  /* The changes of the label, oldest first: {start, label, confidence, late}. */
  changes() {
    return this._merge().filter((item, i, all) => i === 0 || item.label !== all[i - 1].label);
  }

  /* The stretches from `from` to `to` in ms, oldest first: {start, end, label, confidence, late}. */
  spans(from, to) {
    const items = this._merge();
    const spans = [];
    items.forEach((item, i) => {
      const start = Math.max(item.start, from);
      const end = Math.min(i + 1 < items.length ? items[i + 1].start : to, to);
      if (end > start) spans.push({ ...item, start, end });
    });
    return spans;
  }

  /* What all sources tell, each thing once; neighbours differ in their label, or in whether anybody listened. */
  _merge() {
    if (this._merged) return this._merged;
    const items = [...this._runs, ...this._events.values()];
    const newest = items.reduce((latest, item) => Math.max(latest, item.start), -Infinity);
    const merged = [];
    for (const item of items.filter((each) => each.start > newest - DAY_MS).sort((a, b) => a.start - b.start)) {
      const last = merged.at(-1);
      /* The state does not tell whether a `quiet` is one in which nobody listened. */
      const vague = last && (last.vague || item.vague) && item.start - last.start < Past.SAME_MS;
      if (last?.label === item.label && (vague || Past.isGap(last) === Past.isGap(item))) {
        last.late ||= item.late;
        last.confidence ??= item.confidence;
      } else merged.push({ ...item });
    }
    this._merged = merged;
    return merged;
  }

  _add(key, item) {
    this._events.set(key, item);
    if (this._events.size > Past.MAX_EVENTS) this._events.delete(this._events.keys().next().value);
    this._changed();
  }

  _changed() {
    this._merged = null;
    this.version += 1;
  }
}
