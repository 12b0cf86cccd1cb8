// Elements from names and texts. Text is text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `props`: `class`, `on` (events to listeners), `data`, `text`; everything else is an attribute, left out
 * if null or false. Children are nodes or strings.
 */
export const el = (name, props = {}, ...children) => fill(document.createElement(name), props, children);

/** The same in SVG. */
export const svg = (name, props = {}, ...children) => fill(document.createElementNS(SVG, name), props, children);

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "text") element.textContent = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A button with a label for those who hear the page. */
export const iconButton = (icon, label, onClick, props = {}) =>
  el("button", { type: "button", class: "icon", "aria-label": label, title: label, on: { click: onClick }, ...props }, icon);
