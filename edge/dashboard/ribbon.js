/* The ribbon's drawing: time runs to the right; a bar is as tall as its share of speech, coloured by what was heard. */
"use strict";

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
