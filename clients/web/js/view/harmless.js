// Makes text that others wrote harmless: control, bidirectional and invisible characters are shown instead of executed.
// The table and the rules are those of gaung-proto's `foreign_text.rs`. A test compares the two for every character.

const INVISIBLE =
  /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e001f}\u{e0080}-\u{e00ff}\u{e01f0}-\u{e0fff}]/u;
// Joiners, selectors and tags are visible where they change how a neighbour looks.
const JOINER = /[\u200c\u200d]/;
const SELECTOR = /[\ufe00-\ufe0f]/;
const TAG = /[\u{e0020}-\u{e007f}]/u;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const SUSPECT = new RegExp([INVISIBLE, JOINER, SELECTOR, TAG, CONTROL].map(({ source }) => source).join("|"), "u");
const PICTURES = 0x2400;
const DELETE_PICTURE = "\u2421";

const code = (c) => c.codePointAt(0);

/** Whether a character between two others is not seen; `before` and `after` are "\0" at an end. */
const isInvisible = (before, c, after) => {
  // Scripts that join begin with Hebrew; a word of theirs may follow one of another script.
  if (JOINER.test(c)) return before === "\0" || Math.max(code(before), code(after)) < 0x590 || SUSPECT.test(after);
  if (SELECTOR.test(c)) return code(before) < 0x2000 && before !== "\u00a9" && before !== "\u00ae" && after !== "\u20e3";
  if (TAG.test(c)) return before !== "\u{1f3f4}" && !TAG.test(before);
  return INVISIBLE.test(c);
};

const picture = (c) => {
  if (c === "\u007f") return DELETE_PICTURE;
  return code(c) < 0x20 ? String.fromCodePoint(PICTURES + code(c)) : "\ufffd";
};

/** What is shown of a text; characters of `kept` stay. */
const shown = (text, kept) => {
  if (!SUSPECT.test(text)) return text;
  const chars = [...text];
  let before = "\0";
  return chars
    .map((c, at) => {
      if (CONTROL.test(c)) {
        before = "\0";
        return kept.includes(c) ? c : picture(c);
      }
      if (isInvisible(before, c, chars[at + 1] ?? "\0")) return "\ufffd";
      before = c;
      return c;
    })
    .join("");
};

/** Several lines: newline and tab stay. */
export const lines = (text) => shown(text.replaceAll("\r\n", "\n"), "\n\t");

/** One line: a name. */
export const line = (text) => shown(text, "\t").replaceAll("\t", " ");
