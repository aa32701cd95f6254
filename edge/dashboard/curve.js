/* The probabilities over the last minutes (uPlot): one line per label, told apart by tone, dash and the word at its end. */
"use strict";

const Curve = (() => {
  const DRAW_EVERY_MS = 450; // states come once a second
  const NAMED_FROM = 0.15;
  const LINE_EM = 1.25;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let plot = null;
  let drawn = "";
  let drawnAt = -Infinity;

  function update(sensor, { condition, nowMs, steadyMs }) {
    const trace = Traces.of(sensor);
    const wanted = `${sensor.device} ${trace.labels} ${dark.matches}`;
    if (wanted === drawn && steadyMs - drawnAt < DRAW_EVERY_MS) return;
    drawnAt = steadyMs;
    const box = Dom.byId("curve");
    const columns = trace.columns();
    const recent = columns[0].some((t) => t > (nowMs - Trace.SPAN_MS) / 1000);
    Dom.setHidden(Dom.byId("curve-empty"), recent);
    if (!recent) Dom.setText(Dom.byId("curve-empty"), condition.kind === "live" ? silence(sensor, nowMs) : "Nothing is heard.");
    if (wanted !== drawn) {
      plot?.destroy();
      plot = make(box, trace.labels);
      drawn = wanted;
    }
    resize(box);
    plot.setData(columns, false);
    plot.setScale("x", { min: (nowMs - Trace.SPAN_MS) / 1000, max: nowMs / 1000 });
  }

  /* The probabilities of what was said before this page was open are not known: only the labels are. */
  function silence(sensor, nowMs) {
    const until = sensor.knownUntil(nowMs);
    const quiet = sensor.past.wasQuiet(until - Trace.SPAN_MS, until);
    return quiet ? "Nobody has spoken for a while." : "It begins when somebody speaks.";
  }

  function resize(box) {
    const { width, height } = box.getBoundingClientRect();
    if (width > 0 && (plot.width !== Math.floor(width) || plot.height !== Math.floor(height)))
      plot.setSize({ width: Math.floor(width), height: Math.floor(height) });
  }

  function make(box, labels) {
    const css = getComputedStyle(document.documentElement);
    const [ink, grid] = [css.getPropertyValue("--muted").trim(), css.getPropertyValue("--hair").trim()];
    const { width, height } = box.getBoundingClientRect();
    const px = 0.75 * parseFloat(css.fontSize); // canvas text does not follow the page's size by itself
    const font = `${px}px Figtree, system-ui, sans-serif`;
    const axis = { stroke: ink, font, ticks: { show: false }, border: { show: false } };
    return new uPlot(
      {
        width: Math.max(100, Math.floor(width)),
        height: Math.max(60, Math.floor(height)),
        padding: [10, 6 * px, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: true }, y: { range: [0, 1] } },
        axes: [
          { ...axis, size: 2.4 * px, gap: 0.9 * px, grid: { show: false }, splits: minutes, values: (u, splits) => splits.map(ago) },
          { ...axis, size: 3.9 * px, splits: () => [0, 0.5, 1], grid: { stroke: grid, width: 1 }, values: () => ["0 %", "50 %", "100 %"] },
        ],
        series: [{}, ...labels.map(line)],
        hooks: { draw: [(u) => nameEnds(u, labels, ink, px)] },
      },
      [[], ...labels.map(() => [])],
      box,
    );
  }

  /* Marks that stand still while the time passes under them. */
  function minutes(u) {
    const { min, max } = u.scales.x;
    return [min, (min + max) / 2, max];
  }

  function ago(t, i, splits) {
    const minutesAgo = Math.round((splits.at(-1) - t) / 60);
    return minutesAgo === 0 ? "now" : `${minutesAgo} min ago`;
  }

  function line(label) {
    return { stroke: Labels.colour(label), width: 2.5, dash: Labels.dash(label), points: { show: false }, spanGaps: false };
  }

  /* Writes each strong label beside the end of its line, moved apart where they would overlap. */
  function nameEnds(u, labels, ink, px) {
    const last = u.data[0].length - 1;
    if (last < 0) return;
    const em = px * (devicePixelRatio || 1);
    const ends = labels
      .map((label, i) => ({ label, score: u.data[i + 1][last] }))
      .filter((end) => end.score !== null && end.score >= NAMED_FROM)
      .sort((a, b) => b.score - a.score);
    let floor = -Infinity;
    u.ctx.save();
    u.ctx.font = `600 ${em}px Figtree, system-ui, sans-serif`;
    u.ctx.textBaseline = "middle";
    u.ctx.textAlign = "left";
    for (const { label, score } of ends) {
      const y = Math.max(u.valToPos(score, "y", true), floor + LINE_EM * em);
      const x = Math.min(u.valToPos(u.data[0][last], "x", true), u.bbox.left + u.bbox.width);
      floor = y;
      u.ctx.fillStyle = Labels.colour(label);
      u.ctx.fillRect(x + em / 2, y - em / 3, (em * 2) / 3, (em * 2) / 3);
      u.ctx.fillStyle = ink;
      u.ctx.fillText(label, x + 1.5 * em, y, 4.4 * em);
    }
    u.ctx.restore();
  }

  return { update };
})();

document.head.append(Dom.make("link", { rel: "stylesheet", href: "vendor/uplot.min.css" }));
Page.addRoomView(Curve);
