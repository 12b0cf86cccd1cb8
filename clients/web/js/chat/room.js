// One group that this browser is in: its log, what waits to be sent, what was read, who has heard.

import { keepDraft, loadDraft } from "./draft.js";
import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { load, save } from "./store.js";
import { isSaid } from "../wire/content.js";

export class Room {
  #members = [];
  #names = new Map();

  #authors;

  /** `authors`: what is known about who wrote messages. */
  constructor(group, authors) {
    this.#authors = authors;
    this.id = group.id;
    this.name = group.name;
    this.isPrivate = group.private;
    this.reserved = group.reserved;
    this.log = this.#newLog("");
    this.outbox = new Outbox();
    this.ticket = "";
    /** What is decided in the group, and this browser's role in it, once it was read: `{ owner, policy, role }`. */
    this.standing = null;
    /** Receipts of own messages, by seq. */
    this.receipts = new Map();
    /** Why the group cannot be heard at the moment; empty if it can. */
    this.trouble = "";
    this.draft = loadDraft(group.id);
    this.unread = 0;
    this.mentions = 0;
    this.loading = null;
  }

  get members() {
    return this.#members;
  }

  set members(members) {
    this.#members = members;
    this.#names = new Map(members.filter((one) => one.device && one.name).map((one) => [one.device, one.name]));
  }

  get lastRead() {
    const read = load(`read.${this.id}`);
    return read?.log === this.log.id ? read.seq : null;
  }

  /** Everything that is here was seen. */
  markRead() {
    this.unread = 0;
    this.mentions = 0;
    // Another tab may have read further.
    const isFurther = this.lastRead === null || this.log.head > this.lastRead;
    if (this.log.next > 0 && isFurther) save(`read.${this.id}`, { log: this.log.id, seq: this.log.head });
  }

  /** Counts rows that were not seen. `isMine` and `isMention` say of a row what it is. */
  count(rows, isMine, isMention) {
    const seen = this.lastRead ?? 0;
    for (const row of rows) {
      if (row.seq <= seen || isMine(row) || !isSaid(row.content)) continue;
      this.unread += 1;
      if (isMention(row)) this.mentions += 1;
    }
  }

  /** Counts anew: another tab has read. */
  recount(isMine, isMention) {
    this.unread = 0;
    this.mentions = 0;
    this.count(this.log.rows, isMine, isMention);
  }

  keepDraft(text) {
    this.draft = text;
    keepDraft(this.id, text);
  }

  /** A new log, or the first: what was held of another one is forgotten. */
  replaceLog(id) {
    this.log = this.#newLog(id);
    this.receipts.clear();
  }

  #newLog(id) {
    return new Log(id, (change) => this.#counts(change));
  }

  /** Until it is verified a change counts, so that the words before it do not appear for a moment. */
  #counts(change) {
    const state = this.authorState(change);
    const isNeeded = this.isPrivate || change.content.kind === "moderate";
    return state !== "broken" && !(isNeeded && state === "unsigned");
  }

  /** What is known about the author of a message of its log: `signed`, `pending`, `unsigned` or `broken`. */
  authorState(message) {
    return this.#authors.stateOf(this, message);
  }

  /** As the registry has it, else as it stood beside what was said last; empty if nobody knows. */
  nameOf(device) {
    return this.#names.get(device) ?? this.log.authorOf(device);
  }
}
