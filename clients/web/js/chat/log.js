// One group's log as this page has it: messages in order, what later ones did to earlier ones, and what is missing.

import { NOBODY } from "../wire/authorship.js";
import { decodeContent, isChange, isHidden, isSaid } from "../wire/content.js";
import { proofOf } from "./authors.js";

/** Shown messages that are held, and the characters of their texts; the oldest go when there are more, and come back by scrolling up. */
const MOST_SHOWN = 4000;
const MOST_CHARACTERS = 16 * 1024 * 1024;
/** So many times as much is held for somebody who reads further up. */
const READING = 4;
/** Authors whose last name is remembered. */
const MOST_AUTHORS = 10_000;
/** Gaps that are shown; the oldest go. */
const MOST_GAPS = 200;

/** Edits and deletions of rows that are not here, and the bytes of their texts: enough for what people change. */
const MOST_PENDING = 2000;
const PENDING_CHARACTERS = 2 * 1024 * 1024;
/** Reactions of all rows. */
const MOST_REACTIONS = 50_000;
/** Different emoji of one row. */
const MOST_EMOJI = 64;
/** Longer ones are no emoji. */
const LONGEST_EMOJI = 64;

export class Log {
  /** `counts(change)`: whether an edit, deletion or redaction is honoured, by what is known about its author now. */
  constructor(id, counts) {
    this.id = id;
    this.#changes = new Changes(counts);
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
  }

  #changes;
  #characters = 0;
  #authors = new Map();

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
    const before = this.gaps.at(-1);
    if (before?.lost && before.last + 1 === first) before.last = last;
    else this.gaps.push({ first, last, lost: true });
    if (this.gaps.length > MOST_GAPS) this.gaps.shift();
    this.next = Math.max(this.next, last + 1);
  }

  /** Takes what the session brought; gives the new rows. */
  append(messages, lane) {
    const fresh = messages.filter((message) => message.seq >= this.next);
    if (!fresh.length) return [];
    this.next = fresh.at(-1).seq + 1;
    this.#fill(this.next);
    const rows = this.#take(fresh, lane);
    for (const row of rows) this.rows.push(row);
    this.trim(READING);
    return rows;
  }

  /** Takes a page of history that ends before `oldest`; gives the new rows. */
  prepend(messages, first) {
    const older = messages.filter((message) => message.seq < this.oldest && message.seq >= first);
    this.complete = !older.length || older[0].seq <= 1;
    if (!older.length) return [];
    this.oldest = older[0].seq;
    const rows = this.#take(older, "history");
    this.rows = rows.concat(this.rows);
    return rows;
  }

  /** Gives back the memory of the oldest rows, once there are `times` as many as are held usually. */
  trim(times = 1) {
    const held = () => this.#characters + this.#changes.characters;
    if (this.rows.length <= times * MOST_SHOWN && held() <= times * MOST_CHARACTERS) return;
    let [gone, characters] = [0, held()];
    while (
      gone < this.rows.length - 1 &&
      (this.rows.length - gone > (times * MOST_SHOWN) / 2 || characters > (times * MOST_CHARACTERS) / 2)
    ) {
      const row = this.rows[gone];
      this.#characters -= size(row);
      characters -= size(row) + this.#changes.sizeOf(row);
      gone += 1;
    }
    if (gone === 0) return;
    const rows = this.rows.splice(0, gone);
    this.oldest = this.rows[0].seq;
    this.complete = false;
    this.#changes.gone(rows, this.oldest);
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

  /** What a row says now: `{ body, edited, deleted, hidden, reactions, by }`, reactions as emoji to devices, `by` the message that says it. */
  current(row) {
    return this.#changes.current(row);
  }

  /** The name that stood beside what the device said last; empty if nobody knows. */
  authorOf(device) {
    return this.#authors.get(device)?.name ?? "";
  }

  #take(messages, lane) {
    const rows = [];
    const fresh = new Map();
    const changes = [];
    for (const message of messages) {
      const { payload, ...head } = message;
      const content = decodeContent(message.type, payload);
      if (isHidden(content)) continue;
      const hasWords = isSaid(content) || content.kind === "edit";
      const entry = { ...head, log: this.id, lane, content, proof: proofOf(payload, hasWords) };
      if (isChange(content) && entry.proof === undefined) continue;
      if (isChange(entry.content)) {
        changes.push(entry);
        continue;
      }
      rows.push(entry);
      fresh.set(entry.seq, entry);
      this.#characters += size(entry);
      this.#named(entry);
      this.#changes.arrived(entry);
    }
    for (const entry of changes) {
      const target = entry.content.seq;
      const row = fresh.get(target) ?? this.find(target);
      // What is no row, though all around it is here, will never be one.
      if (row || !this.#holds(target)) this.#changes.take(entry, row);
    }
    return rows;
  }

  #holds(seq) {
    return seq >= this.oldest && seq < this.next && !this.gaps.some((gap) => gap.first <= seq && seq <= gap.last);
  }

  #named({ seq, device, content }) {
    const known = this.#authors.get(device);
    if (!content.author || (known && known.seq > seq)) return;
    this.#authors.delete(device);
    this.#authors.set(device, { seq, name: content.author });
    if (this.#authors.size > MOST_AUTHORS) this.#authors.delete(this.#authors.keys().next().value);
  }

  #fill(next) {
    for (const gap of this.gaps) if (!gap.lost) gap.first = Math.max(gap.first, next);
    this.gaps = this.gaps.filter((gap) => gap.lost || gap.first <= gap.last);
  }
}

/** Characters and bytes that a message holds; 0 for none. */
const size = (message) =>
  message ? (message.content.body?.length ?? 0) + (message.content.author?.length ?? 0) + (message.proof?.length ?? 0) : 0;

/** Messages that moderators hid and that are remembered; further ones are shown. */
const MOST_HIDDEN = 4096;

const NONE = { edit: null, deleted: null, hidden: null, reactions: new Map() };

/**
 * What later messages did to earlier ones. Kept by what they change, so that taking one costs the same however many there are,
 * and bounded, so that nobody fills a browser.
 */
class Changes {
  #counts;
  /** By seq of the row: `{ reactions, marks, edit, deleted, hidden }`, the last three as the messages that say so. */
  #rows = new Map();
  #hiddenCount = 0;
  #reactionCount = 0;
  /** Of the texts of edits of rows that are here. */
  characters = 0;
  /** For rows that are not here: by seq of the row, then by device, `{ edit, deleted, characters }`. */
  #pending = new Map();
  #pendingCount = 0;
  #pendingCharacters = 0;

  constructor(counts) {
    this.#counts = counts;
  }

  /** What the row says now: `{ body, edited, deleted, hidden, reactions, by }`, `by` being the message that says it. */
  current(row) {
    const { reactions, ...changes } = this.#rows.get(row.seq) ?? NONE;
    const honoured = (change) => (change && this.#counts(change) ? change : null);
    if (honoured(changes.hidden)) return { body: "", edited: false, deleted: true, hidden: true, reactions, by: changes.hidden };
    const [edit, deleted] = [honoured(changes.edit), honoured(changes.deleted)];
    const body = edit?.content.body ?? row.content.body ?? "";
    return { body, edited: Boolean(edit), deleted: Boolean(deleted), hidden: false, reactions, by: edit ?? row };
  }

  /** Takes an edit, deletion or reaction. `row`: what it changes, if that is here. */
  take(change, row) {
    const { seq, device, content } = change;
    // Nobody changes what was said later.
    if (content.seq >= seq) return;
    if (content.kind === "react") this.#react(seq, device, content);
    // Without a device nobody can tell whose words they are.
    else if (device === NOBODY) return;
    // The relay takes it from moderators alone.
    else if (content.kind === "moderate") this.#hide(change);
    else if (!row) this.#wait(change);
    // Only the author's device changes its words.
    else if (row.device === device) this.#apply(change);
  }

  /** A row came: what waited for it counts now, if it is its author's. */
  arrived(row) {
    const waiting = this.#pending.get(row.seq);
    if (!waiting) return;
    const own = waiting.get(row.device);
    for (const change of [own?.edit, own?.deleted]) if (change) this.#apply(change);
    for (const device of [...waiting.keys()]) this.#drop(row.seq, device);
  }

  /** Characters of the row's edit. */
  sizeOf(row) {
    return size(this.#rows.get(row.seq)?.edit);
  }

  /** These rows went, all before `oldest`; what is read again with them goes too. */
  gone(rows, oldest) {
    for (const row of rows) {
      const state = this.#rows.get(row.seq);
      if (!state) continue;
      const { edit, deleted } = state;
      this.characters -= size(edit);
      [state.edit, state.deleted] = [null, null];
      for (const change of [edit, deleted]) if (change && change.seq >= oldest) this.#wait(change);
    }
    for (const [target, state] of this.#rows) {
      if (target >= oldest) continue;
      for (const [emoji, marks] of state.marks) {
        for (const [device, mark] of marks) if (mark.seq < oldest) this.#unmark(state, emoji, device);
      }
      if (state.hidden && state.hidden.seq < oldest) {
        state.hidden = null;
        this.#hiddenCount -= 1;
      }
      if (!state.edit && !state.deleted && !state.hidden && !state.marks.size) this.#rows.delete(target);
    }
  }

  #hide(change) {
    const state = this.#of(change.content.seq);
    if (!state.hidden && this.#hiddenCount >= MOST_HIDDEN) return;
    if (!state.hidden) this.#hiddenCount += 1;
    state.hidden = later(state.hidden, change);
  }

  #apply(change) {
    const state = this.#of(change.content.seq);
    const before = size(state.edit);
    apply(state, change);
    this.characters += size(state.edit) - before;
  }

  #of(target) {
    let state = this.#rows.get(target);
    if (!state) this.#rows.set(target, (state = { reactions: new Map(), marks: new Map(), edit: null, deleted: null, hidden: null }));
    return state;
  }

  /** The newest mark of a device counts, whichever way it came; one that was taken back stays for an older one that comes later. */
  #react(seq, device, { seq: target, emoji, remove }) {
    if (!emoji || emoji.length > LONGEST_EMOJI) return;
    const state = this.#of(target);
    let marks = state.marks.get(emoji);
    if (!marks) {
      if (state.marks.size >= MOST_EMOJI) return;
      state.marks.set(emoji, (marks = new Map()));
    }
    const before = marks.get(device);
    if (before && before.seq > seq) return;
    if (!before) this.#reactionCount += 1;
    marks.set(device, { seq, remove });
    show(state, emoji, device, !remove);
    if (this.#reactionCount > MOST_REACTIONS) this.#forgetReactions();
  }

  #unmark(state, emoji, device) {
    const marks = state.marks.get(emoji);
    if (!marks.delete(device)) return;
    this.#reactionCount -= 1;
    if (!marks.size) state.marks.delete(emoji);
    show(state, emoji, device, false);
  }

  /** Forgets half of the marks of the emoji that have most, the oldest first, down to three quarters of the bound: seldom. */
  #forgetReactions() {
    while (this.#reactionCount > MOST_REACTIONS * 0.75) {
      const all = [...this.#rows.values()].flatMap((state) => [...state.marks].map(([emoji, marks]) => ({ state, emoji, marks })));
      all.sort((a, b) => b.marks.size - a.marks.size);
      for (const { state, emoji, marks } of all) {
        if (this.#reactionCount <= MOST_REACTIONS * 0.75) return;
        let left = Math.ceil(marks.size / 2);
        for (const device of marks.keys()) {
          if (left === 0) break;
          left -= 1;
          this.#unmark(state, emoji, device);
        }
      }
    }
  }

  #wait(change) {
    const { device, content } = change;
    let waiting = this.#pending.get(content.seq);
    if (!waiting) this.#pending.set(content.seq, (waiting = new Map()));
    let own = waiting.get(device);
    if (!own) {
      waiting.set(device, (own = { edit: null, deleted: null, characters: 0 }));
      this.#pendingCount += 1;
    }
    apply(own, change);
    const characters = size(own.edit);
    this.#pendingCharacters += characters - own.characters;
    own.characters = characters;
    if (this.#pendingCount > MOST_PENDING || this.#pendingCharacters > PENDING_CHARACTERS) this.#forgetPending();
  }

  #drop(target, device) {
    const waiting = this.#pending.get(target);
    const own = waiting?.get(device);
    if (!own) return;
    this.#pendingCount -= 1;
    this.#pendingCharacters -= own.characters;
    waiting.delete(device);
    if (!waiting.size) this.#pending.delete(target);
  }

  /** Forgets of the device that has most, down to three quarters of the bound: seldom, so that each costs little. */
  #forgetPending() {
    const shares = new Map();
    for (const [target, waiting] of this.#pending) {
      for (const [device, { characters }] of waiting) {
        const share = shares.get(device) ?? { cost: 0, targets: [] };
        share.cost += characters + PENDING_CHARACTERS / MOST_PENDING;
        share.targets.push(target);
        shares.set(device, share);
      }
    }
    const largest = [...shares].sort(([, a], [, b]) => b.cost - a.cost);
    for (const [device, { targets }] of largest) {
      for (const target of targets) {
        if (this.#pendingCount <= MOST_PENDING * 0.75 && this.#pendingCharacters <= PENDING_CHARACTERS * 0.75) return;
        this.#drop(target, device);
      }
    }
  }
}

/** The last edit counts, in whichever order they came; a deletion is for good. */
function apply(state, change) {
  if (change.content.kind === "delete") state.deleted = later(state.deleted, change);
  else if (change.content.kind === "edit") state.edit = later(state.edit, change);
}

const later = (one, other) => (one && one.seq > other.seq ? one : other);

function show({ reactions }, emoji, device, shown) {
  const devices = reactions.get(emoji);
  if (shown && devices) devices.add(device);
  else if (shown) reactions.set(emoji, new Set([device]));
  else if (devices?.delete(device) && !devices.size) reactions.delete(emoji);
}
