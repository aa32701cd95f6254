/* What one sensor said over the past day: the retained timeline, and what came since.
 *
 * A label lasts until the next, but never beyond what was told: a timeline is known up to its `ts`, a state's label from
 * its `since` to its `ts`, what lies between two states that follow each other, and the label before an event. */
"use strict";

const DAY_MS = 24 * 3600 * 1000;

class Past {
  static MAX_EVENTS = 500; // of one sensor; of many, fewer each: timelines tell the rest
  static MAX_EVENTS_OF_ALL = 100_000;
  static MAX_STRETCHES = 500;
  static SHORT_GAP_MS = 10_000; // such as a microphone takes to start: drawn, but no line of the list
  static STATES_APART_MS = 90_000; // at most; healthy sensors say something every 30 s
  static TIMELINES_APART_MS = 65_000; // at most, of a sensor that is well
  /* The same change, told by the timeline, an event and the state, may differ by this much. */
  static SAME_MS = 1500;

  static eventsEach = Past.MAX_EVENTS;

  static shareAmong(sensors) {
    Past.eventsEach = Math.min(Past.MAX_EVENTS, Math.ceil(Past.MAX_EVENTS_OF_ALL / sensors));
  }

  constructor() {
    this.version = 0;
    this.timelines = 0; // that came
    this._day = { runs: [], until: null }; // the newest timeline
    this._recent = null; // what came since
    this._runs = []; // of both
    this._toldUntil = null;
    this._known = []; // stretches in ms, {from, until}, in order and apart
    this._lastMs = null; // of the last state, while the sensor has not been lost since
    this._events = new Map();
    this._present = null;
    this._heard = null;
    this._merged = null;
  }

  /* A run or event of `quiet` with confidence 0 stands for a time in which nobody listened. */
  static isGap(item) {
    return item.label === Labels.QUIET && item.confidence === 0;
  }

  setTimeline(told) {
    this._day = Past._told(told);
    this._combine();
  }

  /* What came since a timeline, and a little before its end. */
  setRecent(told) {
    this._recent = Past._told(told);
    this._combine();
  }

  /* What timelines told is let go; what came since this page was open stays. */
  forgetDay() {
    this.setTimeline({ ts: null, runs: [] });
    this.setRecent({ ts: null, runs: [] });
  }

  static _told({ ts, runs }) {
    return { runs: runs.map((run) => ({ ...run, late: false })), until: ts ?? runs.at(-1)?.start ?? null };
  }

  /* Where both parts tell of a time, the later one is right. */
  _combine() {
    this.timelines += 1;
    const [day, recent] = [this._day, this._recent];
    const later = recent !== null && recent.runs.length > 0 && recent.until > (day.until ?? -Infinity) ? recent : null;
    const since = later === null ? Infinity : later.runs[0].start;
    this._runs = [...day.runs.filter((run) => run.start < since), ...(later?.runs ?? [])];
    this._toldUntil = (later ?? day).until;
    for (const part of [day, later]) if (part !== null && part.runs.length > 0) this._learn(part.runs[0].start, part.until);
    this._changed();
  }

  /* The sensor is gone: what it says next does not go on from here. */
  lose() {
    this._lastMs = null;
  }

  /* Returns false for an event known already (QoS 1 delivers at least once). It tells for how long the label before it had
   * lasted, too: `previousMs`. */
  addEvent({ id, ts, label, confidence, late, previousMs }) {
    const key = id ?? `${ts} ${label}`;
    if (this._events.has(key)) return false;
    this._add(key, { start: ts, label, confidence, late });
    if (previousMs > 0) this._learn(ts - Math.min(previousMs, DAY_MS), ts);
    return true;
  }

  /* The state knows since when its label holds, also where its event came before this page was open, and whether the
   * microphone works. */
  setPresent({ ts, emotion, since, microphone }) {
    const follows = this._lastMs !== null && ts >= this._lastMs && ts - this._lastMs <= Past.STATES_APART_MS;
    this._learn(Math.min(since ?? ts, ts, follows ? this._lastMs : ts), ts);
    this._lastMs = ts;
    const heard = microphone === null || microphone === "ok";
    if (this._heard !== null && this._heard !== heard)
      this._add(`heard ${ts}`, { start: ts, label: emotion, confidence: heard ? null : 0, late: false, heard });
    this._heard = heard;
    const known = this._present;
    if (since === null || (known && known.label === emotion && Math.abs(known.start - since) < Past.SAME_MS)) return;
    this._present = { start: since, label: emotion, confidence: null, late: false, vague: true, heard };
    this._add(`since ${since}`, this._present);
  }

  /* The changes of the label, oldest first: {start, end, label, confidence, late}; `end` is as far as it is known. A
   * `label` of null stands for a time between two of them of which nothing is known, or is `untold` as yet. */
  changes() {
    const items = this._merge().filter((item, i, all) => !Past._isNoLine(item, all[i + 1]));
    const goesOn = (item, last) =>
      item.label === last.label && Past.isGap(item) === Past.isGap(last) && this._sawAll(last.start, item.start);
    const changes = items.filter((item, i) => i === 0 || !goesOn(item, items[i - 1]));
    return changes.flatMap((item, i) => {
      const known = this._known.find(({ from, until }) => from <= item.start + Past.SAME_MS && item.start <= until);
      const next = changes[i + 1]?.start ?? item.start;
      const end = Math.min(changes[i + 1]?.start ?? Infinity, Math.max(item.start, known?.until ?? item.start));
      const told = { ...item, end };
      return next - end > Past.SAME_MS ? [told, this._hole(end, next)] : [told];
    });
  }

  /* A short gap, and a quiet that went before it was told of a second time. */
  static _isNoLine(item, next) {
    if (next === undefined || item.label !== Labels.QUIET) return false;
    if (Past.isGap(item)) return next.start - item.start < Past.SHORT_GAP_MS;
    return Past.isGap(next) && next.start - item.start < Past.SAME_MS;
  }

  /* What lies between the newest timeline and the first word that this page heard, the next timeline tells. */
  _hole(start, end) {
    const untold = this._toldUntil !== null && Math.abs(start - this._toldUntil) <= Past.SAME_MS && end - start <= Past.TIMELINES_APART_MS;
    return { start, end, label: null, confidence: null, late: false, untold };
  }

  /* Whether there is a time between two words of the sensor of which nothing is known. */
  hasHoles() {
    return this._known.length > 1;
  }

  /* Whether it is known that nobody spoke from `from` to `until`, in ms. */
  wasQuiet(from, until) {
    const quiet = this.spans(from, until).filter((span) => span.label === Labels.QUIET && !Past.isGap(span));
    return quiet.reduce((sum, span) => sum + span.end - span.start, 0) >= until - from - Past.SAME_MS;
  }

  /* What is known from `from` on, oldest first: {start, end, label, confidence, late}. `until`: as far as its last word
   * still holds, which is now, while the sensor speaks. All in ms. */
  spans(from, until) {
    const items = this._merge();
    const last = this._lastMs ?? Infinity;
    const goesOn = (each) => each.from <= last && last <= each.until;
    const known = this._known.map((each) => (goesOn(each) ? { ...each, until: Math.max(each.until, until) } : each));
    const spans = [];
    items.forEach((item, i) => {
      const next = i + 1 < items.length ? items[i + 1].start : Infinity;
      for (const each of known) {
        const [start, end] = [Math.max(item.start, from, each.from), Math.min(next, each.until)];
        if (end > start) spans.push({ ...item, start, end });
      }
    });
    return spans;
  }

  /* What all sources tell, each thing once; neighbours differ in their label, or in whether anybody listened. */
  _merge() {
    if (this._merged) return this._merged;
    const items = [...this._runs, ...this._events.values()];
    const newest = items.reduce((latest, item) => Math.max(latest, item.start), -Infinity);
    const merged = [];
    for (const item of items.filter((each) => each.start > newest - DAY_MS).sort((a, b) => a.start - b.start || Past.isGap(a) - Past.isGap(b))) {
      const last = merged.at(-1);
      /* A state of a microphone that does not work does not tell whether its `quiet` is one in which nobody listened. */
      const vague = last && (last.vague || item.vague) && item.start - last.start < Past.SAME_MS;
      const deaf = item.vague && !item.heard && last && Past.isGap(last); // who does not hear begins no quiet
      if (last?.label === item.label && (vague || deaf || (Past.isGap(last) === Past.isGap(item) && this._sawAll(last.start, item.start)))) {
        last.late ||= item.late;
        if (item.heard && Past.isGap(last)) last.confidence = null; // one that hears does
        last.confidence ??= item.confidence;
      } else merged.push({ ...item });
    }
    this._merged = merged;
    return merged;
  }

  _sawAll(from, until) {
    return this._known.some((each) => each.from <= from + Past.SAME_MS && until <= each.until + Past.SAME_MS);
  }

  _learn(from, until) {
    const [before, beside, after] = [[], [], []];
    for (const each of this._known) {
      if (each.until < from - Past.SAME_MS) before.push(each);
      else if (each.from > until + Past.SAME_MS) after.push(each);
      else beside.push(each);
    }
    const whole = { from: Math.min(from, ...beside.map((each) => each.from)), until: Math.max(until, ...beside.map((each) => each.until)) };
    this._known = [...before, whole, ...after].slice(-Past.MAX_STRETCHES);
    if (beside.length !== 1 || whole.from !== beside[0].from) this._changed();
  }

  _add(key, item) {
    this._events.set(key, item);
    while (this._events.size > Past.eventsEach) this._events.delete(this._events.keys().next().value);
    this._changed();
  }

  _changed() {
    this._merged = null;
    this.version += 1;
  }
}
