// This browser's device: an Ed25519 key that never leaves it.
//
// Where browsers keep keys, on pages that came by https or from their own machine, the page may use the key and not read it.
// Elsewhere, and in browsers that have a seed from before, the page keeps the seed and computes itself.

import { fromHex, random, toHex } from "../wire/bytes.js";
import * as ed25519 from "../wire/ed25519.js";
import { sha256 } from "../wire/sha2.js";
import { forget, load, save, watch } from "./store.js";

const STORE = "keys";
const NAME = "device";
/** Noted beside the data base: a browser whose key cannot be read at the moment must not become another device. */
const KEPT = "key.kept";

export class Device {
  /** `sign(bytes)`: the signature, or the promise of it. */
  constructor(publicKey, sign) {
    /** Hexadecimal digits, as the id. */
    this.publicKey = toHex(publicKey);
    this.id = toHex(sha256(publicKey).subarray(0, 16));
    this.sign = sign;
  }

  /** Reads this browser's device, or makes one. */
  static async load() {
    // The answer of a hub that computed for the browser.
    forget("device");
    if (!load("seed") && isSecureContext) {
      const kept = await keptKey().catch((error) => (load(KEPT) ? Promise.reject(error) : null));
      if (kept) return kept;
    }
    return seedDevice();
  }
}

function seedDevice() {
  const kept = load("seed") ?? toHex(random(32));
  save("seed", kept);
  // Two tabs that began at the same moment made two: the one that was kept is this browser's.
  watch("seed", (_, other) => other !== kept && location.reload());
  const seed = fromHex(kept);
  return new Device(ed25519.publicKey(seed), (bytes) => ed25519.sign(seed, bytes));
}

async function keptKey() {
  const fresh = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const { publicKey, privateKey } = await firstKept(fresh);
  save(KEPT, true);
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", publicKey));
  return new Device(raw, async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, bytes)));
}

/** The key that is kept, which is `fresh` if there was none: one transaction, so that all tabs have the same. */
async function firstKept(fresh) {
  const opening = indexedDB.open("gaung", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const base = await done(opening);
  const keys = base.transaction(STORE, "readwrite").objectStore(STORE);
  const kept = await done(keys.get(NAME));
  if (!kept) await done(keys.add(fresh, NAME));
  base.close();
  return kept ?? fresh;
}

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
