// Others' words made harmless: control and bidirectional characters are seen, not obeyed.

// Explicit bidirectional controls, invisible format characters that disguise a name, separators, C1. As the terminal.
const HIDDEN = /[\u0080-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff0-\ufffb\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u2800\u3164\uffa0\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e001f}\u{e0080}-\u{e00ff}\u{e01f0}-\u{e0fff}]/gu;
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
