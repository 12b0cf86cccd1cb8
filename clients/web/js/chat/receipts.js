// Who has heard one's own newest messages, watched for the room that is shown.

import * as api from "./api.js";

/** Own messages that are watched. */
const WATCHED = 20;
const AGAIN_MS = 2000;

export class ReceiptWatch {
  #chat;
  #abort = new AbortController();
  #timer = 0;

  constructor(chat) {
    this.#chat = chat;
  }

  /** Watches the room's own messages that somebody may still hear. */
  follow(room) {
    this.#abort.abort();
    clearTimeout(this.#timer);
    const open = room.log.rows.slice(-500).filter(this.#chat.isMine).slice(-WATCHED);
    const seqs = open.map((row) => row.seq).filter((seq) => !room.receipts.get(seq)?.complete);
    if (!seqs.length) return;
    this.#abort = new AbortController();
    this.#watch(room, seqs[0], seqs.at(-1), this.#abort.signal);
  }

  async #watch(room, first, last, signal) {
    const { log } = room;
    try {
      const wanted = { first: Math.max(first, last - 1000), last, log: log.id, signal };
      const take = (receipt) => {
        if (room.log !== log) return;
        room.receipts.set(receipt.seq, receipt);
        this.#chat.changed.emit(room);
      };
      await this.#chat.withTicket(room, (shown) => api.receipts(room.id, { ...wanted, ...shown }, take));
    } catch (error) {
      // Of messages before the relay's last start nobody knows who heard them.
      if (signal.aborted || error.status === 400) return;
    }
    if (!signal.aborted) this.#timer = setTimeout(() => this.#chat.current === room && this.follow(room), AGAIN_MS);
  }
}
