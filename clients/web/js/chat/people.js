// Whose name is whose. Anybody may choose any name, so one belongs to the device that this browser met first under it.

import { NOBODY } from "../wire/authorship.js";
import { loadAll, save, watch } from "./store.js";
import { Signal } from "./signal.js";

/** Names that are kept. Where there is no room, a new one is shown with its device. */
const MOST_NAMES = 2000;
/** Nobody's name may look as if it were one that is shown apart. */
const DOTS = /[·•∙⋅・･‧᛫⸱]/gu;

export class People {
  /** `apart(name)`: a name is shown with its device for the first time. */
  apart = new Signal();
  #own;
  #owners;
  #told = new Set();

  constructor({ device, name }) {
    this.#own = device;
    this.#owners = new Map(loadAll("people."));
    watch("people.", (form, owner) => owner && this.#owners.set(form, owner));
    this.shown(name, device);
  }

  /** How the name of a device is shown: `budi·3f9a` if another device had it first, `budi·?` for who has proven no device. */
  shown(name, device) {
    const plain = name.replace(DOTS, ".");
    const form = formOf(plain);
    if (!form || this.#owns(form, device || NOBODY)) return plain;
    const apart = `${plain}·${device && device !== NOBODY ? device.slice(0, 4) : "?"}`;
    if (!this.#told.has(apart) && this.#told.size < MOST_NAMES) {
      this.#told.add(apart);
      this.apart.emit(apart);
    }
    return apart;
  }

  /** Whether the name is the device's; it becomes so if it is nobody's. */
  #owns(form, device) {
    const owner = this.#owners.get(form);
    // A browser is never shown apart to itself.
    if (owner) return owner === device || device === this.#own;
    if (device === NOBODY) return true;
    if (this.#owners.size >= MOST_NAMES) return device === this.#own;
    this.#owners.set(form, device);
    save(`people.${form}`, device);
    return true;
  }
}

/** What names have in common that are written alike. */
const formOf = (name) => name.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();
