// Ed25519 signatures (RFC 8032). Browsers have them only for pages that came by https or from their own machine.
//
// Numbers of any size are not computed in constant time. Who could measure that from outside sees one signature each time that the
// page asks registry or hub for something, and the network's delay in it.

import { concat, fromHex, toHex } from "./bytes.js";
import { sha512 } from "./sha2.js";

/** The field's prime, the order of the base point, the curve's constant d, also doubled, and a root of -1. */
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = modulo(-121665n * inverse(121666n));
const D2 = (2n * D) % P;
const ROOT = power(2n, (P - 1n) / 4n);

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

/**
 * Whether the key has signed the message. Strict, so that all readers agree: keys and commitments of small order are refused, and
 * scalars that are not reduced.
 */
export function verify(key, message, signature) {
  const [commitment, scalar] = [signature.subarray(0, 32), fromLittle(signature.subarray(32))];
  const [signer, committed] = [key, commitment].map(decode);
  if (!signer || !committed || isSmall(signer) || isSmall(committed) || scalar >= ORDER) return false;
  const challenge = fromLittle(sha512(concat([commitment, key, message]))) % ORDER;
  const [x, y, z, t] = signer;
  const found = encode(add(times(scalar, BASE), times(challenge, [-x, y, z, -t])));
  return found.every((byte, at) => byte === commitment[at]);
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

/** The point of an encoding (RFC 8032, section 5.1.3); `null` if it is none. */
function decode(bytes) {
  const value = fromLittle(bytes);
  const y = BigInt.asUintN(255, value) % P;
  const [u, v] = [modulo(y * y - 1n), modulo(D * y * y + 1n)];
  let x = modulo(u * v ** 3n * power(u * v ** 7n, (P - 5n) / 8n));
  const square = modulo(v * x * x);
  if (square !== u && square !== modulo(-u)) return null;
  if (square !== u) x = modulo(x * ROOT);
  return point((x & 1n) === value >> 255n ? x : modulo(-x), y);
}

/** Whether eight times the point is the neutral one. */
function isSmall(point) {
  const [x, y, z] = [0, 1, 2].reduce((sum) => add(sum, sum), point);
  return modulo(x) === 0n && modulo(y - z) === 0n;
}

function modulo(value) {
  return ((value % P) + P) % P;
}

/** By Fermat. */
function inverse(value) {
  return power(value, P - 2n);
}

function power(value, exponent) {
  let [result, square] = [1n, modulo(value)];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

const fromLittle = (bytes) => BigInt(`0x${toHex(bytes.slice().reverse())}`);
const toLittle = (value) => fromHex(value.toString(16).padStart(64, "0")).reverse();
