/* Lists of name and value; a value may come with a warning in words. */
"use strict";

class Figures {
  constructor(list) {
    this._list = list;
    this._rows = new Map();
  }

  /* Shows exactly these: [name, text, warning] each. */
  show(figures) {
    if ([...this._rows.keys()].join() !== figures.map(([name]) => name).join()) this._build(figures);
    for (const [name, text, warning] of figures) {
      const { value, note } = this._rows.get(name);
      Dom.setText(value, text);
      Dom.setText(note, warning || "");
      Dom.setHidden(note, !warning);
    }
  }

  _build(figures) {
    this._rows.clear();
    const groups = figures.map(([name]) => {
      const value = Dom.make("span");
      const note = Dom.make("span", { class: "warning" });
      this._rows.set(name, { value, note });
      return Dom.make("div", {}, Dom.make("dt", {}, name), Dom.make("dd", {}, value, note));
    });
    this._list.replaceChildren(...groups);
  }
}
