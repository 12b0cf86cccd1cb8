// Telling of new messages while the page is not looked at: the browser's notifications, or the count in the tab's title.

import { load, save } from "../chat/store.js";
import { byId } from "./dom.js";
import { line } from "./harmless.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

const LEVELS = ["off", "mentions", "all"];

export class Notifier {
  #chat;
  #messages;
  #level = load("notify", "mentions");
  #button = byId("notify");

  constructor(chat, messages, say) {
    this.#chat = chat;
    this.#messages = messages;
    this.say = say;
    this.#button.addEventListener("click", () => this.#next());
    chat.appended.on((room, rows) => this.#told(room, rows));
    chat.counts.on(() => this.#count());
    this.#draw();
  }

  #next() {
    this.#level = LEVELS[(LEVELS.indexOf(this.#level) + 1) % LEVELS.length];
    save("notify", this.#level);
    this.#draw();
    if (this.#level === "off") return;
    if (!("Notification" in window) || !isSecureContext) this.say(t("notify_title_only"));
    else if (Notification.permission === "denied") this.say(t("notify_denied"));
    else if (Notification.permission === "default") Notification.requestPermission();
  }

  #draw() {
    this.#button.replaceChildren(icon(this.#level));
    this.#button.title = t(`notify_${this.#level}`);
    this.#button.ariaLabel = this.#button.title;
  }

  #told(room, rows) {
    if (document.hasFocus() || this.#level === "off") return;
    const row = rows.findLast((one) => !this.#chat.isMine(one) && (this.#level === "all" || this.#chat.mentionsMe(one)));
    if (!row?.content.body || !("Notification" in window) || Notification.permission !== "granted") return;
    const note = new Notification(`${this.#messages.nameOf(room, row)} · ${line(room.name)}`, {
      body: line(row.content.body).slice(0, 200),
      tag: room.id,
      icon: "icon.svg",
    });
    note.onclick = () => {
      focus();
      this.#chat.select(room.id);
    };
  }

  #count() {
    const unread = [...this.#chat.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    document.title = unread ? `(${unread}) ${t("title")}` : t("title");
  }
}
