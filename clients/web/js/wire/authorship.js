// Who wrote a message: the trailer in which its author signs it, the last field of the payload (WIRE.md, section 8).

import { concat, fromHex, fromUuid, utf8 } from "./bytes.js";

/** Tag and length of field 15. Behind it stand public key 32, seen seq 8, seen hash 32, signature 64. */
const HEAD = Uint8Array.of(0x7a, 0x88, 0x01);
export const TRAILER_BYTES = HEAD.length + 136;
/** Seq and hash of the last checkpoint that the author had verified: none. */
const NOTHING_SEEN = new Uint8Array(40);

/** What an author signs. `place`: `{ group, log, client, clientSeq, type }`, where the message is published. */
export function authorBytes({ group, log, client, clientSeq, type }, body, seen = NOTHING_SEEN) {
  const numbers = new Uint8Array(9);
  new DataView(numbers.buffer).setBigUint64(0, BigInt(clientSeq));
  numbers[8] = type;
  return concat([utf8("gaung-author-v1\0"), fromUuid(group), fromHex(log), fromHex(client), numbers, body, seen]);
}

/** The payload with its author's trailer. */
export const withTrailer = (body, publicKey, signature) =>
  concat([body, HEAD, fromHex(publicKey), NOTHING_SEEN, fromHex(signature)]);
