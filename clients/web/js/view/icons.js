// The page's own pictures, as lines; they take the colour of the text around.

import { svg } from "./dom.js";

const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  search: "M11 4a7 7 0 1 1 0 14a7 7 0 0 1 0-14M16 16l4.5 4.5",
  people: "M9 5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 0 1 0-7M2.5 20c0-8 13-8 13 0M16 5.5a3.5 3.5 0 0 1 0 6.500M18 14.500c2.500.700 3.500 3 3.500 5.500",
  close: "M6 6l12 12M18 6L6 18",
  reply: "M10 6L4 12l6 6M4 12h9a7 7 0 0 1 7 7",
  edit: "M4 20l1-5L16 4l4 4L9 19zM13.500 6.500l4 4",
  delete: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  hide: "M3 12s3.500-6 9-6s9 6 9 6s-3.500 6-9 6s-9-6-9-6M4 4l16 16",
  off: "M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4M3.500 3.500l17 17",
  mentions: "M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4",
  all: "M6 17V11a6 6 0 0 1 12 0v6l1.500 1.500h-15zM10 21h4M3 9a9 9 0 0 1 3-5.500M21 9a9 9 0 0 0-3-5.500",
};

export const icon = (name) =>
  svg("svg", { class: "drawn", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));

/** Puts the pictures into what names one by `data-icon`. */
export function draw(root) {
  for (const element of root.querySelectorAll("[data-icon]")) element.replaceChildren(icon(element.dataset.icon));
}
