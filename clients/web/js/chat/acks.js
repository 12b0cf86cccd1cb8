// How far each group was delivered, told to the hub: at once after a pause, then at most every 250 ms (WIRE.md, section 4).

import { ack } from "../wire/frames.js";

const PAUSE_MS = 250;

export class Acks {
  #send;
  #waiting = new Map();
  #timers = new Map();

  constructor(send) {
    this.#send = send;
  }

  delivered(group, log, seq) {
    this.#waiting.set(group, { group, log, seq });
    if (!this.#timers.has(group)) this.#tell(group);
  }

  #tell(group) {
    const place = this.#waiting.get(group);
    this.#waiting.delete(group);
    this.#timers.delete(group);
    if (!place) return;
    this.#send(ack(place));
    this.#timers.set(group, setTimeout(() => this.#tell(group), PAUSE_MS));
  }
}
