// What is typed and not sent. Each tab has its own, which a reload keeps; what a closed tab left is taken over by the next one.

import { random, toHex } from "../wire/bytes.js";
import { forget, load, loadAll, loadTab, save, saveTab } from "./store.js";

const tab = loadTab("tab") ?? toHex(random(8));
saveTab("tab", tab);

const keyOf = (group, whose = tab) => `draft.${group}.${whose}`;

/** This tab's draft, else the newest that another one left, which is this tab's from now on. */
export function loadDraft(group) {
  const own = loadTab(`draft.${group}`);
  if (own !== null) return own;
  const left = loadAll(`draft.${group}.`).filter(([, draft]) => draft?.text);
  left.sort(([, a], [, b]) => b.at - a.at);
  // As it was kept before tabs had their own.
  const text = left[0]?.[1].text ?? load(`draft.${group}`, "");
  if (left.length) forget(keyOf(group, left[0][0]));
  forget(`draft.${group}`);
  if (text) keepDraft(group, text);
  return text;
}

export function keepDraft(group, text) {
  saveTab(`draft.${group}`, text);
  if (text) save(keyOf(group), { text, at: Date.now() });
  else forget(keyOf(group));
}
