// A name's colour and letter, the same for a device everywhere.

const COLOURS = 10;

/** The class of a device's colour; `identity` in hexadecimal. */
export function colourClass(identity) {
  let hash = 0;
  for (const character of identity) hash = (hash * 31 + character.codePointAt(0)) % 1_000_003;
  return `nick-${hash % COLOURS}`;
}
