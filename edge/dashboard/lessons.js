/* What the sensor was taught: which changes can be corrected, and the card that tells how much it helps. */
"use strict";

const Lessons = (() => {
  /* An event's id and the line of its change are of the same moment, but for roundings. */
  const SAME_MS = 5;
  const figures = new Figures(Dom.byId("lessons-figures"));

  /* Whether somebody said something at a change, to a sensor that can be taught what it was. */
  function canTeach(change, lessons) {
    return lessons !== null && lessons.teachable && change.label !== Labels.QUIET;
  }

  /* The lesson of a change, or undefined. */
  function of(change, lessons) {
    return lessons?.taught.find(({ at }) => at !== null && Math.abs(at - change.start) <= SAME_MS);
  }

  function update({ lessons }) {
    Dom.setHidden(Dom.byId("lessons"), lessons === null);
    if (lessons === null) return;
    const some = lessons.count > 0;
    Dom.setText(Dom.byId("lessons-text"), text(lessons));
    Dom.setHidden(Dom.byId("lessons-figures"), !some);
    Dom.setHidden(Dom.byId("lessons-use"), !some);
    Dom.setHidden(Dom.byId("lessons-forget"), !some);
    if (!some) return;
    const share = (ratio) => (ratio === null ? "–" : Format.percent(ratio));
    figures.show([
      ...Labels.inOrder(lessons.perLabel.keys()).map((label) => [label, String(lessons.perLabel.get(label))]),
      ["Right before", share(lessons.rightBefore)],
      ["Right after", share(lessons.rightAfter)],
    ]);
    Dom.setText(Dom.byId("lessons-use"), use(lessons));
  }

  function text(lessons) {
    if (!lessons.teachable) return "The model of this sensor cannot be taught.";
    const others = lessons.ofOtherModels > 0 ? ` Another model has ${Lessons.counted(lessons.ofOtherModels)}.` : "";
    if (lessons.count === 0) return `None yet. Choose a change in the list to say what it was.${others}`;
    return `${Lessons.counted(lessons.count)}.${others}`;
  }

  function use(lessons) {
    if (lessons.inUse) return "The sensor answers by them. Right: of these lessons, each left out in turn.";
    return "They do not help yet, so the sensor answers without them. Right: of these lessons, each left out in turn.";
  }

  return { canTeach, of, update, counted: (count) => (count === 1 ? "1 lesson" : `${count} lessons`) };
})();

Page.addRoomView(Lessons);
