// Who speaks: the device, kept by this browser; the client, new with each page; the name, for display.

import { TRAILER_BYTES, authorBytes, withTrailer } from "../wire/authorship.js";
import { random, toHex } from "../wire/bytes.js";
import { helloBytes } from "../wire/signing.js";
import { Device } from "./device.js";
import { load, save, watch } from "./store.js";

/** As the registry takes names of members. */
export const MAX_NAME = 64;
/** As the relay takes payloads, bytes. */
const MAX_PAYLOAD = 256 * 1024;

export class Identity {
  #key;
  #formerClients;

  constructor(key, name) {
    this.#key = key;
    this.name = name;
    this.clientId = toHex(random(16));
    /** Proves to the relay that what is published under the client id comes from this page. */
    this.streamKey = toHex(random(16));
    this.#formerClients = new Set();
  }

  /** The device's id and public key, as hexadecimal digits. */
  get device() {
    return this.#key.id;
  }

  get publicKey() {
    return this.#key.publicKey;
  }

  /** Signs bytes by the device's key; gives hexadecimal digits. */
  async sign(bytes) {
    return toHex(await this.#key.sign(bytes));
  }

  /** Answers a hub's challenge: `{ publicKey, signature }`. */
  async prove(challenge) {
    const { clientId, publicKey } = this;
    return { publicKey, signature: await this.sign(helloBytes({ challenge, clientId })) };
  }

  /** Signs a payload as its author; gives it with the trailer. `place`: `{ group, log, clientSeq, type }`, where it is published. */
  async signAsAuthor(place, body) {
    if (body.length + TRAILER_BYTES > MAX_PAYLOAD) return body;
    const { clientId: client, publicKey } = this;
    return withTrailer(body, publicKey, await this.sign(authorBytes({ ...place, client }, body)));
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
    return new Identity(await Device.load(), load("name", ""));
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
}
