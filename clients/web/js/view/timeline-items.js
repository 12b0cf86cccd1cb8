// What stands in the timeline, in order: messages, days, gaps, the line where unread begins, folded comings and goings.

import { el } from "./dom.js";
import { mark } from "./author-mark.js";
import { dayNumber, dayOf } from "./time.js";
import { t } from "./words.js";
import { isPresence, isSaid } from "../wire/content.js";

/** A message within it of the same author's before needs no name again. */
const FOLLOWS_MS = 300_000;

const isNoise = (row) => isPresence(row.content);
const divider = (kind, text) => el("div", { class: `divider ${kind}` }, el("span", { text }));
const fixed = (key, kind, text) => ({ key, signature: text, make: () => divider(kind, text) });

export class Items {
  #chat;
  #messages;

  constructor(chat, messages) {
    this.#chat = chat;
    this.#messages = messages;
  }

  /** Items of the rows from `start` up to `end`: `{ key, signature, make }`. */
  list(room, start, end, unreadAfter) {
    const { log } = room;
    const items = start === 0 ? [this.#top(room)] : [];
    let before = null;
    let noise = [];
    for (const row of log.rows.slice(start, end)) {
      const between = [...this.#between(room, before, row, unreadAfter)];
      if (noise.length && (between.length || !isNoise(row))) items.push(this.#folded(room, noise.splice(0)));
      items.push(...between);
      if (isNoise(row)) noise.push(row);
      else items.push(this.#message(room, row, between.length ? null : before));
      before = row;
    }
    if (noise.length) items.push(this.#folded(room, noise));
    if (end === log.rows.length) items.push(...this.#bottom(room, before));
    return items.filter(Boolean);
  }

  #top(room) {
    if (room.log.complete) return fixed("top", "top", t("beginning", { group: room.name }));
    return room.log.next ? fixed("top", "top", t("loading")) : null;
  }

  *#between(room, before, row, unreadAfter) {
    const after = before?.seq ?? 0;
    for (const gap of room.log.gaps) if (gap.last < row.seq && gap.first > after) yield this.#gap(gap);
    if (!before || dayNumber(before.sentAt) !== dayNumber(row.sentAt)) {
      yield fixed(`day-${dayNumber(row.sentAt)}`, "day", dayOf(row.sentAt));
    }
    const unreadBegins = unreadAfter !== null && row.seq > unreadAfter && after <= unreadAfter && !this.#chat.isMine(row);
    if (unreadBegins && before) yield fixed("unread", "unread", t("unread_line"));
  }

  *#bottom(room, before) {
    for (const gap of room.log.gaps) if (gap.first > (before?.seq ?? 0)) yield this.#gap(gap);
    for (const entry of room.outbox.waiting) {
      const signature = String(Boolean(entry.durable));
      if (isSaid(entry.content)) yield { key: `out-${entry.clientSeq}`, signature, make: () => this.#messages.pending(entry) };
    }
  }

  #gap({ first, last, lost }) {
    const text = t(lost ? "gap_lost" : "gap", { count: last - first + 1 });
    return fixed(`gap-${last}`, lost ? "gap lost" : "gap", text);
  }

  #folded(room, rows) {
    const [row] = rows;
    const name = this.#messages.nameOf(room, row);
    const one = row.content.kind === "join" ? t("came", { name }) : t("left", { name });
    return fixed(`noise-${row.seq}`, "noise", rows.length === 1 ? one : t("came_and_left", { count: rows.length }));
  }

  #message(room, row, before) {
    const follows =
      Boolean(before) && !isNoise(before) && before.device === row.device &&
      before.content.author === row.content.author && row.sentAt - before.sentAt < FOLLOWS_MS && row.content.kind !== "reply" &&
      mark(room, before) === mark(room, row);
    const now = room.log.current(row);
    const signature = this.#messages.signature(room, row, now, follows);
    return { key: row.seq, signature, make: () => this.#messages.element(room, row, now, follows) };
  }
}
