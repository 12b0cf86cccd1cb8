// A name's colour and letter, the same for a device everywhere.

const COLOURS = 10;

/** What stands for somebody whose name nobody knows; `identity` in hexadecimal. */
export const shortId = (identity) => identity.slice(0, 8);

/** The class of a device's colour; `identity` in hexadecimal. */
export function colourClass(identity) {
  let hash = 0;
  for (const character of identity) hash = (hash * 31 + character.codePointAt(0)) % 1_000_003;
  return `nick-${hash % COLOURS}`;
}
