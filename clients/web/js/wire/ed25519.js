// Ed25519 signatures (RFC 8032). Browsers have them only for pages that came by https or from their own machine.
//
// Numbers of any size are not computed in constant time. Who could measure that from outside sees one signature each time that the
// page asks registry or hub for something, and the network's delay in it.

import { concat, fromHex, toHex } from "./bytes.js";
import { sha512 } from "./sha2.js";

/** The field's prime, the order of the base point, and the curve's constant d, doubled. */
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const D2 = (2n * -121665n * inverse(121666n)) % P;

/** Points of the curve as [X, Y, Z, T] with x = X/Z, y = Y/Z, xy = T/Z. */
const BASE = point(
  15112221349535400772501151409588531511454012693041857206046113283949847762202n,
  46316835694926478169428394003475163141307993866256225615783033603165251855960n,
);
const NEUTRAL = [0n, 1n, 1n, 0n];

/** The public key of a seed of 32 bytes. */
export function publicKey(seed) {
  return encode(times(expand(seed).scalar, BASE));
}

/** Signs a message. */
export function sign(seed, message) {
  const { scalar, prefix } = expand(seed);
  const nonce = fromLittle(sha512(concat([prefix, message]))) % ORDER;
  const commitment = encode(times(nonce, BASE));
  const challenge = fromLittle(sha512(concat([commitment, publicKey(seed), message])));
  return concat([commitment, toLittle((nonce + challenge * scalar) % ORDER)]);
}

function expand(seed) {
  const digest = sha512(seed);
  const scalar = digest.slice(0, 32);
  scalar[0] &= 248;
  scalar[31] = (scalar[31] & 127) | 64;
  return { scalar: fromLittle(scalar), prefix: digest.subarray(32) };
}

function point(x, y) {
  return [x, y, 1n, (x * y) % P];
}

/** RFC 8032, section 5.1.4; it holds for a point and itself too. */
function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = ((y1 - x1) * (y2 - x2)) % P;
  const b = ((y1 + x1) * (y2 + x2)) % P;
  const c = (((t1 * D2) % P) * t2) % P;
  const d = (2n * z1 * z2) % P;
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [(e * f) % P, (g * h) % P, (f * g) % P, (e * h) % P];
}

function times(scalar, base) {
  let sum = NEUTRAL;
  for (let bit = 254n; bit >= 0n; bit -= 1n) {
    sum = add(sum, sum);
    if ((scalar >> bit) & 1n) sum = add(sum, base);
  }
  return sum;
}

function encode([x, y, z]) {
  const scale = inverse(z);
  const bytes = toLittle(modulo(y * scale));
  bytes[31] |= Number(modulo(x * scale) & 1n) << 7;
  return bytes;
}

function modulo(value) {
  return ((value % P) + P) % P;
}

/** By Fermat: value ** (P - 2). */
function inverse(value) {
  let [result, square] = [1n, modulo(value)];
  for (let power = P - 2n; power > 0n; power >>= 1n) {
    if (power & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

const fromLittle = (bytes) => BigInt(`0x${toHex(bytes.slice().reverse())}`);
const toLittle = (value) => fromHex(value.toString(16).padStart(64, "0")).reverse();
