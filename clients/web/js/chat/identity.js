// Who speaks: the device, kept by this browser; the client, new with each page; the name, for display.

import { random, toHex } from "../wire/bytes.js";
import * as api from "./api.js";
import { load, save, watch } from "./store.js";

/** As the registry takes names of members. */
export const MAX_NAME = 64;

export class Identity {
  #formerClients;

  constructor(seed, publicKey, device, name) {
    this.seed = seed;
    this.publicKey = publicKey;
    this.device = device;
    this.name = name;
    this.clientId = toHex(random(16));
    /** Proves to the relay that what is published under the client id comes from this page. */
    this.streamKey = toHex(random(16));
    this.#formerClients = new Set();
  }

  /** Publishes under another client id from now on: somebody else has published under this one, which stands in the log. */
  takeNewClient() {
    this.#formerClients.add(this.clientId);
    this.clientId = toHex(random(16));
  }

  /** Whether this page published the message, now or under a former client id. */
  published(message) {
    const isClient = message.client === this.clientId || this.#formerClients.has(message.client);
    return isClient && message.device === this.device;
  }

  /** Reads this browser's identity, or makes one. */
  static async load() {
    const seed = load("seed") ?? toHex(random(32));
    save("seed", seed);
    // Two tabs that began at the same moment made two: the one that was kept is this browser's.
    watch("seed", (_, kept) => kept !== seed && location.reload());
    let known = load("device");
    if (known?.seed !== seed) {
      known = { seed, ...(await api.device(seed)) };
      save("device", known);
    }
    return new Identity(seed, known.public_key, known.device, load("name", ""));
  }

  rename(name) {
    this.name = name.trim().slice(0, MAX_NAME);
    save("name", this.name);
  }

  /** Calls `renamed()` when another tab has changed the name. */
  follow(renamed) {
    watch("name", (rest, name) => {
      if (rest || typeof name !== "string" || name === this.name) return;
      this.name = name;
      renamed();
    });
  }

  /** As the registry is told. */
  get member() {
    return { public_key: this.publicKey, client: this.clientId, member_name: this.name };
  }
}
