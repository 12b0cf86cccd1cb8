// New messages for those who hear the page: read out politely, and summed up when they come too fast to be read.

import { byId } from "./dom.js";
import { line } from "./harmless.js";
import { t } from "./words.js";

const PAUSE_MS = 1000;
const FEW = 3;

export class Speech {
  #chat;
  #messages;
  #spoken = byId("spoken");
  #waiting = [];
  #timer = 0;

  constructor(chat, messages) {
    this.#chat = chat;
    this.#messages = messages;
    chat.appended.on((room, rows) => room === chat.current && this.#take(room, rows));
  }

  #take(room, rows) {
    const others = rows.filter((row) => !this.#chat.isMine(row) && row.content.body);
    this.#waiting.push(...others.slice(-FEW - 1).map((row) => `${this.#messages.nameOf(room, row)}: ${line(row.content.body).slice(0, 300)}`));
    if (this.#waiting.length) this.#timer ||= setTimeout(() => this.#speak(), PAUSE_MS);
  }

  #speak() {
    this.#timer = 0;
    const words = this.#waiting.splice(0);
    this.#spoken.textContent = words.length > FEW ? t("latest_new", { count: words.length }) : words.join(". ");
  }
}
