// Bytes, their hexadecimal form, and texts.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `text`: an even number of hexadecimal digits. */
export function fromHex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** The 16 bytes of a UUID as text. */
export const fromUuid = (uuid) => fromHex(uuid.replaceAll("-", ""));

/** A UUID of 16 bytes. */
export function toUuid(bytes) {
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export const utf8 = (text) => encoder.encode(text);

/** What is no UTF-8 becomes U+FFFD. */
export const text = (bytes) => decoder.decode(bytes);

export function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A number of 8 bytes that fits a double, as every seq and client_seq does; throws if it does not. */
export function safe(big) {
  if (big > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError("a number is out of range");
  return Number(big);
}

export const random = (length) => crypto.getRandomValues(new Uint8Array(length));
