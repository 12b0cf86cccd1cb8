// Looking for words in one group: in what is here, and page by page further back.

import { byId, el } from "./dom.js";
import { line } from "./harmless.js";
import { momentOf } from "./time.js";
import { t } from "./words.js";

/** Results that are shown, the newest. */
const MOST = 200;
/** Messages that one search further back reads. */
const FURTHER = 1000;

export class Search {
  #chat;
  #messages;
  #timeline;
  #form = byId("search-form");
  #text = byId("search-text");
  #button = byId("search");

  constructor(chat, messages, timeline) {
    this.#chat = chat;
    this.#messages = messages;
    this.#timeline = timeline;
    this.#button.addEventListener("click", () => this.toggle(this.#form.hidden));
    this.#text.addEventListener("input", () => this.#look());
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
    byId("search-older").addEventListener("click", () => this.#further());
  }

  toggle(shown) {
    this.#form.hidden = !shown;
    this.#button.ariaExpanded = String(shown);
    if (!shown) return;
    this.#text.placeholder = t("search_in", { group: this.#chat.current.name });
    this.#look();
    this.#text.focus();
  }

  #look() {
    const room = this.#chat.current;
    const wanted = this.#text.value.trim().toLowerCase();
    const found = wanted ? room.log.rows.filter((row) => this.#says(room, row).toLowerCase().includes(wanted)) : [];
    byId("search-found").replaceChildren(...found.slice(-MOST).reverse().map((row) => this.#result(room, row)));
    byId("search-state").textContent = wanted ? t("found", { count: found.length, seq: room.log.oldest }) : "";
    byId("search-older").hidden = !wanted || room.log.complete;
    if (wanted && room.log.complete) byId("search-state").textContent += ` ${t("search_all")}`;
  }

  async #further() {
    await this.#chat.loadOlder(this.#chat.current, FURTHER);
    this.#look();
  }

  #says(room, row) {
    const now = room.log.current(row);
    return now.deleted ? "" : `${this.#messages.nameOf(room, row)} ${now.body}`;
  }

  #result(room, row) {
    const words = `${this.#messages.nameOf(room, row)}: ${line(room.log.current(row).body).slice(0, 160)}`;
    const jump = () => this.#timeline.jump(row.seq);
    return el("li", {}, el("button", { type: "button", on: { click: jump } }, el("small", { text: momentOf(row.sentAt) }), ` ${words}`));
  }
}
