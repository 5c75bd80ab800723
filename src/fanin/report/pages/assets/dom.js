// Elements from names, attributes and children. Text goes in as text, so that no name of a parameter becomes markup.
"use strict";

const dom = (() => {
  /** Fills a new element: attributes that are functions listen, false and null are left out, true stands alone. */
  function filled(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** An element of HTML: `html("button", { class: "copy", click: copy }, "Copy")`. */
  const html = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

  /** An element of SVG. */
  const svg = (tag, attributes = {}, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  /** The data of the page, from its island. */
  const data = (id = "data") => JSON.parse(document.getElementById(id).textContent);

  return { html, svg, data };
})();
