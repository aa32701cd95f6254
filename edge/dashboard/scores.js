/* The probabilities now, as a list with bars: also the legend of the curve. */
"use strict";

const Scores = (() => {
  const rows = new Map();

  function update(sensor, { condition }) {
    const scores = condition.kind === "live" ? sensor.state.scores : new Map();
    const known = Traces.of(sensor).labels;
    const labels = known.length ? known : Labels.inOrder(scores.keys());
    const wanted = labels.length ? labels : Labels.EMOTIONS;
    if ([...rows.keys()].join() !== wanted.join()) build(wanted);
    const best = [...scores].reduce((top, [label, score]) => (score > top.score ? { label, score } : top), { score: 0 });
    for (const [label, row] of rows) {
      const score = scores.get(label) ?? null;
      Dom.setText(row.value, score === null ? "–" : Format.percent(score));
      row.bar.style.setProperty("--share", score ?? 0);
      row.item.classList.toggle("best", label === best.label);
    }
  }

  function build(labels) {
    rows.clear();
    for (const label of labels) {
      const bar = Dom.make("span", { class: "bar", "aria-hidden": "true" });
      const value = Dom.make("span", { class: "value" });
      const name = Dom.make("span", { class: "name" }, label);
      const item = Dom.make("li", { "data-tone": Labels.tone(label) }, Dom.icon(Labels.face(label), "face"), name, bar, value);
      rows.set(label, { item, bar, value });
    }
    Dom.byId("scores").replaceChildren(...[...rows.values()].map((row) => row.item));
  }

  return { update };
})();

Page.addRoomView(Scores);
