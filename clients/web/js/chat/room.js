// One group that this browser is in: its log, what waits to be sent, what was read, who has heard.

import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { load, save } from "./store.js";

export class Room {
  constructor(group) {
    this.id = group.id;
    this.name = group.name;
    this.isPrivate = group.private;
    this.reserved = group.reserved;
    this.log = new Log("");
    this.outbox = new Outbox();
    this.ticket = "";
    this.members = [];
    /** Receipts of own messages, by seq. */
    this.receipts = new Map();
    /** Why the group cannot be heard at the moment; empty if it can. */
    this.trouble = "";
    this.draft = load(`draft.${group.id}`, "");
    this.unread = 0;
    this.mentions = 0;
    this.loading = null;
  }

  get lastRead() {
    const read = load(`read.${this.id}`);
    return read?.log === this.log.id ? read.seq : null;
  }

  /** Everything that is here was seen. */
  markRead() {
    this.unread = 0;
    this.mentions = 0;
    if (this.log.next > 0) save(`read.${this.id}`, { log: this.log.id, seq: this.log.head });
  }

  /** Counts rows that were not seen. `isMine` and `isMention` say of a row what it is. */
  count(rows, isMine, isMention) {
    const seen = this.lastRead ?? 0;
    for (const row of rows) {
      const says = row.content.kind === "text" || row.content.kind === "reply";
      if (row.seq <= seen || isMine(row) || !says) continue;
      this.unread += 1;
      if (isMention(row)) this.mentions += 1;
    }
  }

  keepDraft(text) {
    this.draft = text;
    save(`draft.${this.id}`, text);
  }

  /** A new log, or the first: what was held of another one is forgotten. */
  replaceLog(id) {
    this.log = new Log(id);
    this.receipts.clear();
  }

  /** As the registry has it, else as it stood beside what was said last; empty if nobody knows. */
  nameOf(device) {
    const member = this.members.find((one) => one.device === device && one.name);
    return member?.name ?? this.log.rows.findLast((row) => row.device === device)?.content.author ?? "";
  }
}
