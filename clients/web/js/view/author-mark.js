// What stands behind a name where its owner's device has not signed the message.

import { el } from "./dom.js";
import { t } from "./words.js";

const MARKS = { unsigned: "~", broken: "✗" };

/** Empty for a message that is signed, or about to be verified. */
export const mark = (room, message) => MARKS[room.authorState(message)] ?? "";

export function authorMark(room, message) {
  const shown = mark(room, message);
  if (!shown) return null;
  const title = t(room.authorState(message));
  return el("span", { class: `author-mark ${room.authorState(message)}`, title, "aria-label": title, role: "img", text: shown });
}
