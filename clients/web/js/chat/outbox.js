// What one group has been told and has not acknowledged: sent again after a reconnect with the same client_seq, so that the
// relay logs each message once.

const MAX_ENTRIES = 256;
const MAX_BYTES = 512 * 1024;

export class Outbox {
  #next = 1;
  #waiting = [];

  /** Queues a message. `entry`: `{ type, payload, content }`; gives it with its client_seq and time. */
  add(entry) {
    const queued = { ...entry, clientSeq: this.#next, at: Date.now() };
    this.#next += 1;
    this.#waiting.push(queued);
    return queued;
  }

  get waiting() {
    return this.#waiting;
  }

  /** What the hub has not acknowledged, in as many requests as it needs. */
  *batches() {
    let batch = [];
    let bytes = 0;
    for (const entry of this.#waiting.filter((waiting) => !waiting.durable)) {
      if (batch.length && (batch.length >= MAX_ENTRIES || bytes + entry.payload.length > MAX_BYTES)) {
        yield batch;
        [batch, bytes] = [[], 0];
      }
      batch.push(entry);
      bytes += entry.payload.length;
    }
    if (batch.length) yield batch;
  }

  /** Seen in the log; `isDurable`: that says nothing of messages that were not acknowledged. */
  done(clientSeq, isDurable = false) {
    this.#waiting = this.#waiting.filter((entry) => entry.clientSeq !== clientSeq || (isDurable && !entry.durable));
  }

  /** Durable: not sent again, and here until the log brings it. */
  acknowledged({ firstClientSeq, count }) {
    for (const entry of this.#waiting) {
      if (entry.clientSeq >= firstClientSeq && entry.clientSeq < firstClientSeq + count) entry.durable = true;
    }
  }

  /** Takes those away that were refused for good. */
  refuse(clientSeqs) {
    const refused = this.#waiting.filter((entry) => clientSeqs.includes(entry.clientSeq));
    this.#waiting = this.#waiting.filter((entry) => !clientSeqs.includes(entry.clientSeq));
    return refused;
  }
}
