// Times as people read them, in the page's language.

import { LANGUAGE, t } from "./words.js";

const hour = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });
const whole = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "full", timeStyle: "medium" });
const moment = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "short", timeStyle: "short" });
const day = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long" });
const DAY_MS = 86_400_000;

export const hourOf = (ms) => hour.format(ms);
export const momentOf = (ms) => moment.format(ms);
export const wholeOf = (ms) => whole.format(ms);

/** Days since 1970, by this browser's clock. */
export const dayNumber = (ms) => Math.floor((ms - new Date(ms).getTimezoneOffset() * 60_000) / DAY_MS);

export function dayOf(ms) {
  const ago = dayNumber(Date.now()) - dayNumber(ms);
  if (ago === 0) return t("today");
  return ago === 1 ? t("yesterday") : day.format(ms);
}
