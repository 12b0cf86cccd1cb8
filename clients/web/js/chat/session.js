// The session with the hub: opened again with growing pauses, until the page is closed.

import { Items } from "../wire/items.js";
import { decodeRun } from "../wire/run.js";
import * as frames from "../wire/frames.js";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const PING_MS = 20000;
/** Nonces of pings: of one that looks whether the hub is there, and of the one behind the proof of the device. */
const ALIVE = 1;
const PROOF = 2;
/** Silence after a ping that means that the connection is dead. */
const DEAD_MS = 10000;

/**
 * `handler` has `hello()`, which gives the frames of the first message; `prove(challenge)`, which gives the frame that proves the
 * device, or its promise; `welcome()` at each opening, once that is sent; `proven()`, once the hub has taken it; `run(run)`, `frame(frame)`, and
 * `onState(state, detail)` with `open`, `connecting`, `waiting` or `ended`.
 */
export class Session {
  #url;
  #handler;
  #socket = null;
  #pause = FIRST_PAUSE_MS;
  #timer = 0;
  #deadline = 0;
  #open = false;

  constructor(url, handler) {
    this.#url = url;
    this.#handler = handler;
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
    this.#connect();
  }

  get isOpen() {
    return this.#open;
  }

  /** Bytes that the browser has not sent yet. */
  get buffered() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** Sends a frame if the session is open; what matters is sent again by the handler at the next `welcome`. */
  send(frame) {
    if (this.#open) this.#socket.send(frame);
  }

  /** Begins a new session at once. */
  reopen() {
    const socket = this.#socket;
    if (!socket) return;
    this.#closed(socket);
    socket.close();
    this.#hurry();
  }

  #connect() {
    this.#handler.onState("connecting");
    const socket = new WebSocket(this.#url);
    const items = new Items();
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(this.#handler.hello());
    socket.onmessage = (event) => this.#take(items, new Uint8Array(event.data));
    socket.onclose = () => this.#closed(socket);
    this.#socket = socket;
    this.#arm(DEAD_MS);
  }

  #take(items, bytes) {
    this.#arm(PING_MS);
    try {
      for (const item of items.push(bytes)) {
        if (item.run) this.#handler.run(decodeRun(item.run));
        else this.#takeFrame(frames.decodeServerFrame(item.control));
      }
    } catch (error) {
      // A stream that cannot be read is begun anew.
      this.#socket.close();
      throw error;
    }
  }

  #takeFrame(frame) {
    if (frame.kind === "welcome") {
      this.#welcomed(this.#socket, frame.challenge);
    } else if (frame.kind === "pong") {
      if (frame.nonce === PROOF) this.#handler.proven();
    } else {
      this.#handler.frame(frame);
    }
  }

  /** The session is open once its device is proven: what is sent earlier would be nobody's. */
  async #welcomed(socket, challenge) {
    const proof = await this.#handler.prove(challenge);
    if (socket !== this.#socket) return;
    socket.send(proof);
    // Its answer says that the hub has taken the proof.
    socket.send(frames.ping(PROOF));
    this.#open = true;
    this.#pause = FIRST_PAUSE_MS;
    this.#handler.onState("open");
    this.#handler.welcome();
  }

  /** After `ms` of silence a ping is due, and after a silent ping the end. */
  #arm(ms) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      if (ms === PING_MS && this.#open) {
        this.send(frames.ping(ALIVE));
        this.#arm(DEAD_MS);
      } else {
        this.#socket.close();
        this.#closed(this.#socket);
      }
    }, ms);
  }

  #closed(socket) {
    if (socket !== this.#socket) return;
    socket.onclose = null;
    socket.onmessage = null;
    clearTimeout(this.#deadline);
    this.#open = false;
    this.#socket = null;
    // Not all browsers of a room at the same moment.
    const wait = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    this.#handler.onState("waiting", wait);
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #hurry() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#connect();
  }
}
