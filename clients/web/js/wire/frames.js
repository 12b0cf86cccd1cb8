// Control frames: gaung.hub.v1 ClientFrame and ServerFrame. Groups are UUIDs, log ids 16 hexadecimal digits.

import { fromHex, fromUuid, text, toUuid } from "./bytes.js";
import { frame } from "./items.js";
import { Writer, fields } from "./protobuf.js";

const NO_LOG = "0".repeat(16);
const client = (field, body) => frame(new Writer().message(field, body).finish());

export const hello = ({ clientId, device, name, streamKey = "" }) =>
  client(
    1,
    new Writer().number(1, 1).bytes(2, fromHex(clientId)).bytes(3, fromHex(device)).text(4, name).bytes(5, fromHex(streamKey)),
  );

/** `from` 0: what is logged next. */
export const subscribe = ({ group, log = NO_LOG, from = 0, ticket = "" }) =>
  client(2, new Writer().bytes(2, fromUuid(group)).fixed64(3, log).number(4, from).bytes(5, fromHex(ticket)));

export const unsubscribe = (group) => client(3, new Writer().bytes(1, fromUuid(group)));

/** `entries`: 1 to 1024 of `{ clientSeq, type, payload }`, rising; `log`: no other one may take them. */
export function publish({ tag, group, log = NO_LOG, entries, ticket = "" }) {
  const body = new Writer().number(1, tag).bytes(2, fromUuid(group));
  for (const entry of entries) {
    body.message(3, new Writer().number(1, entry.clientSeq).number(2, entry.type).bytes(3, entry.payload));
  }
  return client(4, body.bytes(4, fromHex(ticket)).fixed64(5, log));
}

export const ack = ({ group, log, seq }) =>
  client(5, new Writer().bytes(1, fromUuid(group)).fixed64(2, log).number(3, seq));

/** A newer ticket for a private group that the session is in. */
export const renew = ({ group, ticket }) => client(7, new Writer().bytes(1, fromUuid(group)).bytes(2, fromHex(ticket)));

/** Proves the session's device, whose key has signed the challenge of the welcome. */
export const prove = ({ publicKey, signature }) =>
  client(8, new Writer().bytes(1, fromHex(publicKey)).bytes(2, fromHex(signature)));

export const ping = (nonce) => client(6, new Writer().number(1, nonce));

const uuid = (bytes) => (bytes?.length === 16 ? toUuid(bytes) : "");

const DECODERS = {
  1: (f) => ({ kind: "welcome", everyone: uuid(f[3]), challenge: f[4]?.slice() }),
  2: (f) => ({
    kind: "subscribed",
    group: uuid(f[1]),
    name: f[2] ? text(f[2]) : "",
    log: f[3] ?? NO_LOG,
    next: f[4] ?? 0,
    head: f[5] ?? 0,
    historyLost: f[6] === 1,
  }),
  3: (f, body) => ({ kind: "published", tag: f[1] ?? 0, log: f[2] ?? NO_LOG, acks: acks(body) }),
  5: (f) => ({ kind: "gap", group: uuid(f[1]), first: f[2] ?? 0, last: f[3] ?? 0 }),
  6: (f) => ({ kind: "error", tag: f[1] ?? 0, code: f[2] ?? 0, message: f[3] ? text(f[3]) : "", group: uuid(f[4]) }),
  7: (f) => ({ kind: "bye", reason: f[1] ? text(f[1]) : "", final: f[3] === 1 }),
  8: (f) => ({ kind: "pong", nonce: f[1] ?? 0 }),
  9: (f) => ({ kind: "unsubscribed", group: uuid(f[1]), code: f[2] ?? 0, message: f[3] ? text(f[3]) : "" }),
};

/** One ServerFrame as `{ kind, … }`; kind `unknown` for one that this page does not know. */
export function decodeServerFrame(bytes) {
  for (const [field, body] of fields(bytes)) {
    const decode = DECODERS[field];
    if (decode) return decode(Object.fromEntries(fields(body)), body);
  }
  return { kind: "unknown" };
}

function acks(body) {
  const ranges = [];
  for (const [field, value] of fields(body)) {
    if (field !== 3) continue;
    const range = Object.fromEntries(fields(value));
    ranges.push({ firstClientSeq: range[1] ?? 0, firstSeq: range[2] ?? 0, count: range[3] ?? 0 });
  }
  return ranges;
}
