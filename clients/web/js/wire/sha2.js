// SHA-256 and SHA-512 (FIPS 180-4). Browsers have them only for pages that came by https or from their own machine.

/** Both are one algorithm, with words of another size and other rotations. */
const SHA256 = variant(32n, 64, [2n, 13n, 22n], [6n, 11n, 25n], [7n, 18n, 3n], [17n, 19n, 10n]);
const SHA512 = variant(64n, 80, [28n, 34n, 39n], [14n, 18n, 41n], [1n, 8n, 7n], [19n, 61n, 6n]);

export const sha256 = (bytes) => hash(SHA256, bytes);
export const sha512 = (bytes) => hash(SHA512, bytes);

function variant(bits, rounds, big0, big1, small0, small1) {
  const found = primes(rounds);
  const fraction = (degree) => (prime) => BigInt.asUintN(Number(bits), root(degree, prime << (degree * bits)));
  return { bits, big0, big1, small0, small1, start: found.slice(0, 8).map(fraction(2n)), keys: found.map(fraction(3n)) };
}

function primes(count) {
  const found = [];
  for (let n = 2n; found.length < count; n += 1n) if (found.every((prime) => n % prime)) found.push(n);
  return found;
}

/** The root, rounded down, by Newton's method from above. */
function root(degree, value) {
  let found = 1n << BigInt(Math.ceil(value.toString(2).length / Number(degree)));
  for (;;) {
    const next = ((degree - 1n) * found + value / found ** (degree - 1n)) / degree;
    if (next >= found) return found;
    found = next;
  }
}

function hash({ bits, big0, big1, small0, small1, start, keys }, message) {
  const cut = (value) => BigInt.asUintN(Number(bits), value);
  const turn = (value, by) => (value >> by) | cut(value << (bits - by));
  const big = (value, [a, b, c]) => turn(value, a) ^ turn(value, b) ^ turn(value, c);
  const small = (value, [a, b, c]) => turn(value, a) ^ turn(value, b) ^ (value >> c);
  const size = Number(bits) / 8;
  let state = start;
  for (const block of blocks(message, size)) {
    const words = [...block];
    for (let i = 16; i < keys.length; i += 1) {
      words.push(cut(words[i - 16] + small(words[i - 15], small0) + words[i - 7] + small(words[i - 2], small1)));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < keys.length; i += 1) {
      const first = h + big(e, big1) + ((e & f) ^ (~e & g)) + keys[i] + words[i];
      const second = big(a, big0) + ((a & b) ^ (a & c) ^ (b & c));
      [a, b, c, d, e, f, g, h] = [cut(first + second), a, b, c, cut(d + first), e, f, g];
    }
    state = [a, b, c, d, e, f, g, h].map((value, i) => cut(value + state[i]));
  }
  const digest = new Uint8Array(8 * size);
  state.forEach((value, i) => digest.set(bigEndian(value, size), i * size));
  return digest;
}

/** The message, a one bit, zeros and its length in bits, in blocks of 16 words. */
function* blocks(message, size) {
  const block = 16 * size;
  const padded = new Uint8Array(Math.ceil((message.length + 1 + 2 * size) / block) * block);
  padded.set(message);
  padded[message.length] = 0x80;
  padded.set(bigEndian(BigInt(message.length) * 8n, 8), padded.length - 8);
  for (let at = 0; at < padded.length; at += block) {
    yield Array.from({ length: 16 }, (_, i) => number(padded.subarray(at + i * size, at + (i + 1) * size)));
  }
}

const number = (bytes) => bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);

function bigEndian(value, size) {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * (size - 1 - i))) & 255n));
}
