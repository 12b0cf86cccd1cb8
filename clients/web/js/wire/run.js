// A run: the encoded messages of one batch (WIRE.md, sections 2 and 3).

import { safe, toHex, toUuid } from "./bytes.js";

const HEADER = 44;
const BLOCK_HEADER = 12;
const AUTHOR = 32;
const MESSAGE = 20;

/**
 * Decodes a whole run: `{ group, log, epoch, messages }`, each message `{ seq, device, client, clientSeq, type, sentAt,
 * payload }`; ids are hexadecimal, the group a UUID, `sentAt` in ms since 1970. Throws a RangeError where it is no run.
 */
export function decodeRun(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(0) !== 0x4752 || view.getUint32(4) !== bytes.length) throw new RangeError("this is no run");
  const first = safe(view.getBigUint64(36));
  return {
    group: toUuid(bytes.subarray(8, 24)),
    log: toHex(bytes.subarray(24, 32)),
    epoch: view.getUint32(32),
    messages: decodeBlock(bytes, view, HEADER, first),
  };
}

function decodeBlock(bytes, view, start, first) {
  const baseTime = view.getBigUint64(start);
  const count = view.getUint16(start + 8);
  const authors = decodeAuthors(bytes, start + BLOCK_HEADER, view.getUint16(start + 10));
  let at = start + BLOCK_HEADER + AUTHOR * authors.length;
  const messages = [];
  for (let i = 0; i < count; i += 1) {
    const author = authors[view.getUint16(at)];
    const end = at + MESSAGE + view.getUint32(at + 16);
    if (!author || end > bytes.length) throw new RangeError("a message does not fit its run");
    messages.push({
      seq: first + i,
      ...author,
      type: view.getUint8(at + 2),
      clientSeq: safe(view.getBigUint64(at + 4)),
      sentAt: Number((baseTime + BigInt(view.getUint32(at + 12))) / 1000n),
      payload: bytes.subarray(at + MESSAGE, end),
    });
    at = end;
  }
  if (at !== bytes.length) throw new RangeError("something follows the last message");
  return messages;
}

function decodeAuthors(bytes, start, count) {
  const authors = [];
  for (let at = start; authors.length < count; at += AUTHOR) {
    if (at + AUTHOR > bytes.length) throw new RangeError("the authors do not fit their run");
    authors.push({ device: toHex(bytes.subarray(at, at + 16)), client: toHex(bytes.subarray(at + 16, at + 32)) });
  }
  return authors;
}
