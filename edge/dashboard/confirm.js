/* Asks before what cannot be undone, or what may open a microphone. */
"use strict";

const Confirm = (() => {
  const dialog = Dom.byId("confirm");
  let onYes = () => {};

  /* `words` are on the button that does it. */
  function ask(title, text, words, does) {
    onYes = does;
    Dom.setText(Dom.byId("confirm-title"), title);
    Dom.setText(Dom.byId("confirm-text"), text);
    Dom.setText(Dom.byId("confirm-yes"), words);
    dialog.showModal();
  }

  Dom.byId("confirm-no").addEventListener("click", () => dialog.close());
  Dom.byId("confirm-yes").addEventListener("click", () => {
    dialog.close();
    onYes();
  });
  addEventListener("hashchange", () => dialog.close()); // it was asked of another room

  return { ask };
})();
