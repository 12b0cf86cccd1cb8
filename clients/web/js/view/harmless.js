// Others' words made harmless: control and bidirectional characters are seen, not obeyed.

// Explicit bidirectional controls, invisible format characters that disguise a name, separators, C1. As the terminal.
const HIDDEN = /[\u0080-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\u{e0001}]/gu;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const PICTURES = 0x2400;
const DELETE_PICTURE = "\u2421";

/** Several lines: newline and tab stay. */
export const lines = (text) =>
  text
    .replaceAll("\r\n", "\n")
    .replace(CONTROL, (c) => (c === "\u007f" ? DELETE_PICTURE : String.fromCodePoint(PICTURES + c.codePointAt(0))))
    .replace(HIDDEN, "\ufffd");

/** One line: a name. */
export const line = (text) => lines(text).replaceAll("\n", "\u240a").replaceAll("\t", " ");
