// One group's log as this page has it: messages in order, what later ones did to earlier ones, and what is missing.

import { decodeContent } from "../wire/content.js";

/** Shown messages that are held; the oldest go when there are more, and come back by scrolling up. */
const MOST_SHOWN = 4000;

/** Kinds that are rows of their own. The others change a row. */
const ROWS = new Set(["text", "reply", "join", "leave", "unknown"]);

export class Log {
  constructor(id) {
    this.id = id;
    /** First seq that is expected from the session; 0 before the first word of the hub. */
    this.next = 0;
    /** First seq of what is held; history begins before it. */
    this.oldest = 0;
    /** Nothing older is kept anywhere. */
    this.complete = false;
    /** Rows, by rising seq. */
    this.rows = [];
    /** `{ first, last, lost }`: known to exist and not here. */
    this.gaps = [];
    this.#changes = new Map();
  }

  #changes;

  get head() {
    return this.next - 1;
  }

  /** The session begins at `next` while the log's head is `head`: all between will come. */
  begin(next, head) {
    if (this.next === 0) {
      this.next = next;
      this.oldest = next;
      this.complete = next <= 1;
      return;
    }
    if (next > this.next) this.lose(this.next, next - 1);
    this.gaps = this.gaps.filter((gap) => gap.lost);
    if (head >= this.next) this.gaps.push({ first: this.next, last: head, lost: false });
  }

  /** Those seqs cannot be had any more. */
  lose(first, last) {
    this.gaps.push({ first, last, lost: true });
    this.next = Math.max(this.next, last + 1);
  }

  /** Takes what the session brought; gives the new rows. */
  append(messages, lane) {
    const fresh = messages.filter((message) => message.seq >= this.next);
    if (!fresh.length) return [];
    this.next = fresh.at(-1).seq + 1;
    this.#fill(this.next);
    const rows = this.#take(fresh, lane);
    this.rows.push(...rows);
    return rows;
  }

  /** Takes a page of history that ends before `oldest`; gives the new rows. */
  prepend(messages, first) {
    const older = messages.filter((message) => message.seq < this.oldest && message.seq >= first);
    this.complete = !older.length || older[0].seq <= 1;
    if (!older.length) return [];
    this.oldest = older[0].seq;
    const rows = this.#take(older, "history");
    this.rows.unshift(...rows);
    return rows;
  }

  /** Gives back the memory of the oldest rows. */
  trim() {
    if (this.rows.length <= MOST_SHOWN) return;
    this.rows.splice(0, this.rows.length - MOST_SHOWN / 2);
    this.oldest = this.rows[0].seq;
    this.complete = false;
    for (const [seq, changes] of this.#changes) {
      const kept = changes.filter((change) => change.seq >= this.oldest);
      if (kept.length) this.#changes.set(seq, kept);
      else this.#changes.delete(seq);
    }
  }

  find(seq) {
    const at = this.indexOf(seq);
    return this.rows[at]?.seq === seq ? this.rows[at] : undefined;
  }

  /** Index of the first row that is not before `seq`. */
  indexOf(seq) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** What a row says now: `{ body, edited, deleted, reactions }`, reactions as emoji to devices. */
  current(row) {
    const changes = this.#changes.get(row.seq) ?? [];
    const now = { body: row.content.body ?? "", edited: false, deleted: false, reactions: new Map() };
    for (const { device, content } of changes) {
      const own = device === row.device;
      if (content.kind === "edit" && own) [now.body, now.edited] = [content.body, true];
      else if (content.kind === "delete" && own) now.deleted = true;
      else if (content.kind === "react") react(now.reactions, device, content);
    }
    return now;
  }

  #take(messages, lane) {
    const rows = [];
    for (const message of messages) {
      const { payload, ...head } = message;
      const entry = { ...head, lane, content: decodeContent(message.type, payload) };
      if (ROWS.has(entry.content.kind)) rows.push(entry);
      else this.#change(entry);
    }
    return rows;
  }

  /** Changes of one row stay in the order of their seqs, whichever way they came. */
  #change(entry) {
    const { seq } = entry.content;
    const changes = this.#changes.get(seq) ?? [];
    changes.push(entry);
    changes.sort((a, b) => a.seq - b.seq);
    this.#changes.set(seq, changes);
    this.changed?.(seq);
  }

  #fill(next) {
    for (const gap of this.gaps) if (!gap.lost) gap.first = Math.max(gap.first, next);
    this.gaps = this.gaps.filter((gap) => gap.lost || gap.first <= gap.last);
  }
}

function react(reactions, device, { emoji, remove }) {
  const devices = reactions.get(emoji) ?? new Set();
  if (remove) devices.delete(device);
  else devices.add(device);
  if (devices.size) reactions.set(emoji, devices);
  else reactions.delete(emoji);
}
