/* Elements made of text only: nothing that came over the wire is ever parsed as markup. */
"use strict";

const Dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  /* Makes an element; `children` are nodes or text. */
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  /* Shows one of the drawings at the top of index.html; it is decoration, the word stands beside it. */
  function icon(name, className = "icon") {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", className);
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("viewBox", "0 0 100 100");
    svg.append(document.createElementNS(SVG, "use"));
    setIcon(svg, name);
    return svg;
  }

  function setIcon(svg, name) {
    const wanted = `#drawing-${name}`;
    const use = svg.firstElementChild;
    if (use.getAttribute("href") !== wanted) use.setAttribute("href", wanted);
  }

  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function setAttribute(node, name, value) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }

  function setHidden(node, hidden) {
    if (node.hidden !== hidden) node.hidden = hidden;
  }

  return { make, icon, setIcon, setText, setAttribute, setHidden, byId: (id) => document.getElementById(id) };
})();
