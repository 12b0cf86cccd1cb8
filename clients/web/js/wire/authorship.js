// Who wrote a message: the trailer in which its author signs it, the last field of the payload (WIRE.md, section 8).

import { concat, fromHex, fromUuid, toHex, utf8 } from "./bytes.js";
import { verify } from "./ed25519.js";
import { fields } from "./protobuf.js";
import { sha256 } from "./sha2.js";

/** Tag and length of field 15. Behind it stand public key 32, seen seq 8, seen hash 32, signature 64. */
const HEAD = Uint8Array.of(0x7a, 0x88, 0x01);
export const TRAILER_BYTES = HEAD.length + 136;
/** Seq and hash of the last checkpoint that the author had verified: none. */
const NOTHING_SEEN = new Uint8Array(40);
/** The device of who has proven none. */
export const NOBODY = "0".repeat(32);

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

/** Whether a payload ends like one with a trailer; if not, nobody has signed it. */
export function endsLikeSigned(payload) {
  const at = payload.length - TRAILER_BYTES;
  return at >= 0 && HEAD.every((byte, i) => payload[at + i] === byte);
}

/**
 * Says of a payload that was read at `place` whether its author has signed it: `signed`, `unsigned`, or `broken` where the trailer does
 * not fit the message, its place or `device`, the author as the relay has it. Takes some milliseconds.
 */
export function authorState(place, device, payload) {
  if (!endsLikeSigned(payload)) return "unsigned";
  const at = payload.length - TRAILER_BYTES;
  const body = payload.subarray(0, at);
  // The words of a message may end with the same bytes; a trailer stands after whole fields.
  if (!hasWholeFields(body)) return "unsigned";
  const [key, seen, signature] = [[0, 32], [32, 72], [72, 136]].map(([from, to]) =>
    payload.subarray(at + HEAD.length + from, at + HEAD.length + to),
  );
  const isAuthors = device === NOBODY || device === toHex(sha256(key).subarray(0, 16));
  return isAuthors && verify(key, authorBytes(place, body, seen), signature) ? "signed" : "broken";
}

function hasWholeFields(bytes) {
  try {
    return [...fields(bytes)].length >= 0;
  } catch {
    return false;
  }
}
