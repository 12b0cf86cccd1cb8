// What people say: a message's payload, gaung.message.v1.Content.

import { text } from "./bytes.js";
import { Writer, fields } from "./protobuf.js";

/**
 * The kinds: type in the routing header; what a message of it is in the timeline (`said`: a row with a text of its own;
 * `presence`: a row about its author; `change`: it changes the row of `seq`; `hidden`: no row); and its fields as `[number, type]`.
 */
export const KINDS = {
  text: { type: 1, is: "said", fields: { body: [1, "text"] } },
  reply: { type: 2, is: "said", fields: { seq: [1, "number"], body: [2, "text"] } },
  edit: { type: 3, is: "change", fields: { seq: [1, "number"], body: [2, "text"] } },
  delete: { type: 4, is: "change", fields: { seq: [1, "number"] } },
  react: { type: 5, is: "change", fields: { seq: [1, "number"], emoji: [2, "text"], remove: [3, "flag"] } },
  join: { type: 6, is: "presence", fields: {} },
  leave: { type: 7, is: "presence", fields: { reason: [1, "text"] } },
  attest: { type: 8, is: "hidden", fields: { first: [1, "number"], count: [2, "number"], digest: [3, "text"] } },
  moderate: { type: 9, is: "change", fields: { seq: [1, "number"] } },
};

/** Types of fields, read from all values that came for one field. */
const READ = {
  number: (values) => values.at(-1) ?? 0,
  text: (values) => (values.length ? text(values.at(-1)) : ""),
  flag: (values) => values.at(-1) === 1,
};

const NAMES = new Map(Object.entries(KINDS).map(([kind, { type }]) => [type, kind]));

export const isSaid = (content) => KINDS[content.kind]?.is === "said";
export const isPresence = (content) => KINDS[content.kind]?.is === "presence";
export const isHidden = (content) => KINDS[content.kind]?.is === "hidden";
export const isChange = (content) => KINDS[content.kind]?.is === "change";

/** `content`: `{ kind }` and the fields of that kind; gives `[type, payload]`. */
export function encodeContent(author, content) {
  const kind = KINDS[content.kind];
  const inner = new Writer();
  for (const [name, [number, type]] of Object.entries(kind.fields)) inner[type](number, content[name] ?? "");
  return [kind.type, new Writer().text(1, author).message(kind.type + 1, inner).finish()];
}

/** `{ kind, author }` and the fields of that kind; kind `unknown` where the payload is not what its type says. */
export function decodeContent(type, payload) {
  const unknown = { kind: "unknown", author: "" };
  let author = "";
  let found = null;
  try {
    for (const [field, value] of fields(payload)) {
      if (field === 1) author = text(value);
      else if (NAMES.has(field - 1)) found = [field - 1, value];
    }
    if (!found || found[0] !== type) return { ...unknown, author };
    return { kind: NAMES.get(type), author, ...decodeFields(KINDS[NAMES.get(type)], found[1]) };
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return unknown;
    throw error;
  }
}

function decodeFields(kind, bytes) {
  const found = [...fields(bytes)];
  const values = (number) => found.filter(([field]) => field === number).map(([, value]) => value);
  return Object.fromEntries(Object.entries(kind.fields).map(([name, [number, type]]) => [name, READ[type](values(number))]));
}
