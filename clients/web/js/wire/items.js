// The hub's stream: control frames and runs, one behind the other, cut anywhere (WIRE.md, section 4).

import { concat } from "./bytes.js";

const HEADER = 8;
const FRAME = 0x4746;
const RUN = 0x4752;
const VERSION = 1;
/** Larger than any frame or run that a hub sends. */
const MAX_ITEM = 2 * 1024 * 1024;

/** Puts an encoded ClientFrame behind its header. */
export function frame(body) {
  const whole = new Uint8Array(HEADER + body.length);
  const view = new DataView(whole.buffer);
  view.setUint16(0, FRAME);
  view.setUint8(2, VERSION);
  view.setUint32(4, whole.length);
  whole.set(body, HEADER);
  return whole;
}

/** Cuts a stream into its items, however its bytes come. */
export class Items {
  #waiting = new Uint8Array(0);

  /** Whole items of what has come by now: `{ run }` with all its bytes, or `{ control }` with the frame's body. */
  *push(bytes) {
    let left = this.#waiting.length ? concat([this.#waiting, bytes]) : bytes;
    for (;;) {
      const length = itemLength(left);
      if (length === 0 || left.length < length) break;
      const item = left.subarray(0, length);
      left = left.subarray(length);
      yield kind(item) === RUN ? { run: item } : { control: item.subarray(HEADER) };
    }
    // A copy, so that a rest of some bytes does not keep a long message.
    this.#waiting = left.slice();
  }
}

const kind = (bytes) => new DataView(bytes.buffer, bytes.byteOffset).getUint16(0);

/** 0 until the header is there. */
function itemLength(bytes) {
  if (bytes.length < HEADER) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = view.getUint32(4);
  const known = kind(bytes) === FRAME || kind(bytes) === RUN;
  if (!known || bytes[2] !== VERSION || length < HEADER || length > MAX_ITEM) throw new RangeError("this is no stream of a hub");
  return length;
}
