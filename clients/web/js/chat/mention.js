// Where a text speaks to somebody: the name as a whole word, with or without @, in whatever case.

const LETTER = "[\\p{L}\\p{N}_]";
const escaped = (name) => name.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

/** The places as [start, end). */
export function mentions(text, name) {
  if (!name) return [];
  const whole = new RegExp(`(?<!${LETTER})@?${escaped(name)}(?!${LETTER})`, "giu");
  return Array.from(text.matchAll(whole), (match) => [match.index, match.index + match[0].length]);
}

export const isMention = (text, name) => mentions(text, name).length > 0;
