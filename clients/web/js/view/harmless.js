// Others' words made harmless: control and bidirectional characters are seen, not obeyed.

// Explicit bidirectional controls, invisible format characters that disguise a name, separators, C1. As the terminal.
const HIDDEN = /[\u0080-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u206f\ufeff\ufff0-\ufffb\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u2800\u3164\uffa0\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e001f}\u{e0080}-\u{e00ff}\u{e01f0}-\u{e0fff}]/gu;
// What only makes something of its neighbours: joiners, selectors and tags.
const JOINING = /[\u200c\u200d\ufe00-\ufe0f\u{e0020}-\u{e007f}]/u;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const PICTURES = 0x2400;
const DELETE_PICTURE = "\u2421";

// Scripts that join begin with Hebrew; words of theirs may follow others.
const isEnd = (after) => after === 0 || after === 0x200c || after === 0x200d || (after >= 0xfe00 && after <= 0xfe0f);
const joins = (before, after) => before > 0 && !isEnd(after) && Math.max(before, after) >= 0x590;

/** Such characters where they only disguise the text replaced, as the terminal does it. */
const undisguised = (text) => {
  if (!JOINING.test(text)) return text;
  const chars = [...text];
  let before = 0;
  return chars
    .map((c, at) => {
      const code = c.codePointAt(0);
      let disguises = false;
      if (code === 0x200c || code === 0x200d) disguises = !joins(before, chars[at + 1]?.codePointAt(0) ?? 0);
      else if (code >= 0xfe00 && code <= 0xfe0f) disguises = before < 0x2000 && before !== 0xa9 && before !== 0xae && chars[at + 1] !== "\u20e3";
      else if (code >= 0xe0020 && code <= 0xe007f) disguises = before !== 0x1f3f4 && !(before >= 0xe0020 && before <= 0xe007f);
      if (disguises) return "\ufffd";
      before = code;
      return c;
    })
    .join("");
};

/** Several lines: newline and tab stay. */
export const lines = (text) =>
  undisguised(
    text
      .replaceAll("\r\n", "\n")
      .replace(CONTROL, (c) => (c === "\u007f" ? DELETE_PICTURE : String.fromCodePoint(PICTURES + c.codePointAt(0))))
      .replace(HIDDEN, "\ufffd"),
  );

/** One line: a name. */
export const line = (text) => lines(text).replaceAll("\n", "\u240a").replaceAll("\t", " ");
