/* What the sensor was taught: the card that tells how much it helps, and the way to say what a change was. It comes with
 * the first sensor that can be taught (app.js). */
"use strict";

const Lessons = (() => {
  /* Fewer lessons than these, over all labels, tell nothing of how much they help; `roomtone lessons` has it so, too. */
  const FEWEST = 5;
  const ALL = "all";
  const figures = new Figures(Dom.byId("lessons-figures"));
  let teaching = null; // of teach.js
  let asked = null; // of it, before it was there

  function update({ lessons }) {
    Dom.setHidden(Dom.byId("lessons"), lessons === null);
    if (teaching === null) Dom.setText(Dom.byId("lessons-note"), Condition.sentence(lessons?.problem));
    if (lessons === null) return;
    const some = lessons.count > 0;
    Dom.setText(Dom.byId("lessons-text"), text(lessons));
    Dom.setHidden(Dom.byId("lessons-figures"), !some);
    Dom.setHidden(Dom.byId("lessons-help"), !some);
    Dom.setHidden(Dom.byId("lessons-use"), !some);
    Dom.setHidden(Dom.byId("lessons-forget"), !some);
    if (!some) return;
    figures.show(Labels.inOrder(lessons.perLabel.keys()).map((label) => [label, String(lessons.perLabel.get(label))]));
    Dom.setText(Dom.byId("lessons-help"), help(lessons));
    Dom.setText(Dom.byId("lessons-use"), use(lessons));
  }

  function text(lessons) {
    if (!lessons.teachable) return "The model of this sensor cannot be taught.";
    const others = lessons.ofOtherModels > 0 ? ` Another model has ${Lessons.counted(lessons.ofOtherModels)}.` : "";
    if (lessons.count === 0) return `None yet. Choose a change in the list to say what it was.${others}`;
    return `${Lessons.counted(lessons.count)}.${others}`;
  }

  /* How many lessons the sensor would get right, without the lessons (before) and by the others of them (after). */
  function help({ count, rightBefore, rightAfter }) {
    if (count < FEWEST) return "Too few to tell yet; five of each label help most.";
    if (rightBefore === null || rightAfter === null) return "";
    const [before, after] = [rightBefore, rightAfter].map((ratio) => Math.round(ratio * count));
    return `Best guess right, of the ${count} lessons: ${before} before, ${after} after.`;
  }

  function use({ count, inUse, chanceBefore, chanceAfter }) {
    const how = inUse ? "The sensor answers by the lessons" : "The sensor answers without the lessons so far";
    if (count < FEWEST || chanceBefore === null || chanceAfter === null) return `${how}.`;
    const chances = `what you said was given a chance of ${Format.percent(chanceBefore)} before, ${Format.percent(chanceAfter)} after`;
    return (
      "The best guess is the likeliest emotion at the utterance's end, also where the page says unknown; " +
      `after: as the other lessons teach it. ${how}: ${chances}.`
    );
  }

  /* What a line of the list is chosen by, where somebody said something to a sensor that can be taught what it was, else
   * null. Not among the stops of the Tab key, as there are many: the list is one, and its arrow keys go from line to line. */
  function button(change, lessons) {
    if (!lessons?.teachable || change.label === Labels.QUIET) return null;
    const name = `${change.label}: say what it was`;
    return Dom.make("button", { type: "button", class: "word", tabindex: "-1", "data-start": change.start, "aria-label": name }, change.label);
  }

  /* The arrow keys go from line to line. */
  function walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const buttons = [...Dom.byId("changes").querySelectorAll("[data-start]")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  }

  /* Asks what a change was, by its start as text, or whether ALL are to be forgotten. */
  function ask(what) {
    if (teaching !== null) teaching.open(what);
    else asked = what;
    Page.want("teach");
  }

  function serve(made) {
    teaching = made;
    made.open(asked);
  }

  Dom.byId("changes").addEventListener("keydown", walk);
  Dom.byId("changes").addEventListener("click", (event) => {
    const button = event.target.closest("[data-start]");
    if (button !== null) ask(button.dataset.start);
  });
  Dom.byId("lessons-forget").addEventListener("click", () => ask(ALL));

  return { ALL, button, serve, update, counted: (count) => (count === 1 ? "1 lesson" : `${count} lessons`) };
})();

Page.addRoomView(Lessons);
