// Where a text speaks to somebody: the name as a whole word, with or without @, in whatever case.

const LETTER = "[\\p{L}\\p{N}_]";
const escaped = (name) => name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/** One's own name seldom changes, and many messages a second are looked at. */
let made = { name: "", whole: null };

function pattern(name) {
  if (made.name !== name) made = { name, whole: new RegExp(`(?<!${LETTER})@?${escaped(name)}(?!${LETTER})`, "giu") };
  return made.whole;
}

/** The places as [start, end). */
export function mentions(text, name) {
  if (!name) return [];
  return Array.from(text.matchAll(pattern(name)), (match) => [match.index, match.index + match[0].length]);
}

export const isMention = (text, name) => mentions(text, name).length > 0;
