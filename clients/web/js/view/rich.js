// A message's text as nodes: addresses become links, one's own name is marked.

import { mentions } from "../chat/mention.js";
import { el } from "./dom.js";
import { lines } from "./harmless.js";

const LINK = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g;
/** Longer texts are shown in part until asked for. */
const MUCH = 3000;

export function rich(text, ownName, showAll, onShowAll) {
  const cut = text.length > MUCH && !showAll;
  const shown = lines(cut ? text.slice(0, MUCH) : text);
  const nodes = [];
  let at = 0;
  for (const match of shown.matchAll(LINK)) {
    nodes.push(...marked(shown.slice(at, match.index), ownName));
    nodes.push(el("a", { href: match[0], target: "_blank", rel: "noopener noreferrer", text: match[0] }));
    at = match.index + match[0].length;
  }
  nodes.push(...marked(shown.slice(at), ownName));
  if (cut) nodes.push(onShowAll());
  return nodes;
}

function marked(text, name) {
  const nodes = [];
  let at = 0;
  for (const [start, end] of mentions(text, name)) {
    nodes.push(text.slice(at, start), el("mark", { text: text.slice(start, end) }));
    at = end;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}
