// As much of protobuf's encoding as the hub's frames need: varint, fixed64 and length-delimited fields.

import { concat, fromHex, safe, toHex, utf8 } from "./bytes.js";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** Encodes one message. Fields of a zero value are left out, as proto3 does. */
export class Writer {
  #parts = [];

  /** `value`: a whole number from 0 to 2^53 - 1. */
  number(field, value) {
    if (value) this.#parts.push(varint(field * 8 + VARINT), varint(value));
    return this;
  }

  flag(field, value) {
    return this.number(field, value ? 1 : 0);
  }

  /** `hex`: 16 hexadecimal digits. */
  fixed64(field, hex) {
    if (/[^0]/.test(hex)) this.#parts.push(varint(field * 8 + FIXED64), fromHex(hex).reverse());
    return this;
  }

  bytes(field, value) {
    return value.length ? this.#delimited(field, value) : this;
  }

  text(field, value) {
    return this.bytes(field, utf8(value));
  }

  /** An empty message is written too: it is there. */
  message(field, writer) {
    return this.#delimited(field, writer.finish());
  }

  finish() {
    return concat(this.#parts);
  }

  #delimited(field, value) {
    this.#parts.push(varint(field * 8 + LENGTH), varint(value.length), value);
    return this;
  }
}

function varint(value) {
  const bytes = [];
  while (value >= 128) {
    bytes.push((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  bytes.push(value);
  return Uint8Array.from(bytes);
}

/**
 * The fields of a message in their order, as [number, value]: a number for a varint, hexadecimal digits for a fixed64,
 * bytes for what is delimited. Throws a RangeError where the bytes are no message.
 */
export function* fields(bytes) {
  const reader = new Reader(bytes);
  while (!reader.done) {
    const key = reader.varint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case VARINT:
        yield [field, reader.varint()];
        break;
      case FIXED64:
        yield [field, toHex(reader.take(8).slice().reverse())];
        break;
      case LENGTH:
        yield [field, reader.take(reader.varint())];
        break;
      case FIXED32:
        reader.take(4);
        break;
      default:
        throw new RangeError("a field is of an unknown kind");
    }
  }
}

class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#at >= this.#bytes.length;
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.take(1)[0];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return safe(BigInt.asUintN(64, value));
    }
    throw new RangeError("a number does not end");
  }

  take(length) {
    if (this.#at + length > this.#bytes.length) throw new RangeError("a field does not fit its message");
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}
