// Verifies who wrote messages, when they are drawn: each takes some milliseconds, and most are never looked at.

import { authorState, endsLikeSigned } from "../wire/authorship.js";
import { Signal } from "./signal.js";

/** Messages that wait to be verified: more than the page shows at once. The oldest go, and wait again when they are drawn again. */
const MOST_WAITING = 512;
/** Changes without words of their own have short payloads. */
const LONGEST_PROOF = 512;

/**
 * What of a message's payload is kept for its author to be verified: `null` where nobody has signed, `undefined` where it is longer than any
 * true one, so that nobody fills a browser with what is never shown.
 */
export function proofOf(payload, hasWords) {
  if (!endsLikeSigned(payload)) return null;
  return hasWords || payload.length <= LONGEST_PROOF ? payload.slice() : undefined;
}

export class Authors {
  /** `doubted(room)`: a message is not what its author signed; until it is known, each counts as signed. */
  doubted = new Signal();
  #states = new WeakMap();
  #waiting = [];
  #timer = 0;

  /** What is known about the author of a message: `signed`, `unsigned`, `broken`, or `pending` until it is verified. */
  stateOf(room, message) {
    if (!message.proof) return "unsigned";
    const state = this.#states.get(message);
    if (!state) this.#queue(room, message);
    return state ?? "pending";
  }

  #queue(room, message) {
    this.#states.set(message, "pending");
    this.#waiting.push({ room, message });
    if (this.#waiting.length > MOST_WAITING) this.#states.delete(this.#waiting.shift().message);
    this.#timer ||= setTimeout(() => this.#verifyNext());
  }

  /** One at a time, so that the page stays quick meanwhile; the newest first, which is looked at. */
  #verifyNext() {
    this.#timer = 0;
    const { room, message } = this.#waiting.pop();
    const { client, clientSeq, type, device, proof, log } = message;
    const state = authorState({ group: room.id, log, client, clientSeq, type }, device, proof);
    this.#states.set(message, state);
    if (state !== "signed") this.doubted.emit(room);
    if (this.#waiting.length) this.#timer = setTimeout(() => this.#verifyNext());
  }
}
