// What people say: a message's payload, gaung.message.v1.Content.

import { text, utf8 } from "./bytes.js";
import { Writer, fields } from "./protobuf.js";

/** Content types, as the routing header has them. */
export const Type = { text: 1, reply: 2, edit: 3, delete: 4, react: 5, join: 6, leave: 7 };

const KINDS = Object.fromEntries(Object.entries(Type).map(([kind, type]) => [type, kind]));

/** `content`: `{ kind, body?, seq?, emoji?, remove? }`; gives `[type, payload]`. */
export function encodeContent(author, content) {
  const writer = new Writer().text(1, author);
  const type = Type[content.kind];
  return [type, writer.message(type + 1, encodeKind(content)).finish()];
}

function encodeKind(content) {
  const writer = new Writer();
  switch (content.kind) {
    case "text":
      return writer.bytes(1, utf8(content.body));
    case "reply":
    case "edit":
      return writer.number(1, content.seq).bytes(2, utf8(content.body));
    case "delete":
      return writer.number(1, content.seq);
    case "react":
      return writer.number(1, content.seq).text(2, content.emoji).flag(3, content.remove);
    default:
      return writer;
  }
}

/** `{ kind, author, body, seq, emoji, remove, reason }`; kind `unknown` where the payload is not what its type says. */
export function decodeContent(type, payload) {
  const unknown = { kind: "unknown", author: "" };
  let author = "";
  let found = null;
  try {
    for (const [field, value] of fields(payload)) {
      if (field === 1) author = text(value);
      else if (KINDS[field - 1]) found = [field - 1, value];
    }
    if (!found || found[0] !== type) return { ...unknown, author };
    return { kind: KINDS[type], author, ...decodeKind(KINDS[type], found[1]) };
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return unknown;
    throw error;
  }
}

function decodeKind(kind, bytes) {
  const found = Object.fromEntries(fields(bytes));
  const asText = (value) => (value ? text(value) : "");
  switch (kind) {
    case "text":
      return { body: asText(found[1]) };
    case "reply":
    case "edit":
      return { seq: found[1] ?? 0, body: asText(found[2]) };
    case "delete":
      return { seq: found[1] ?? 0 };
    case "react":
      return { seq: found[1] ?? 0, emoji: asText(found[2]), remove: found[3] === 1 };
    case "leave":
      return { reason: asText(found[1]) };
    default:
      return {};
  }
}
