// The groups on the side: those one is in, with what is unread, and those one could join.

import * as api from "../chat/api.js";
import { byId, el } from "./dom.js";
import { line } from "./harmless.js";
import { t } from "./words.js";

const MANY = 99;
const count = (n) => (n > MANY ? `${MANY}+` : String(n));

export class RoomList {
  #chat;
  #list = byId("room-list");
  #others = byId("other-list");
  #frame = 0;

  /** `act(promise)` tells the person when something fails. */
  constructor(chat, act) {
    this.#chat = chat;
    this.act = act;
    chat.roomsChanged.on(() => this.draw());
    chat.counts.on(() => this.#soon());
    byId("others").addEventListener("toggle", (event) => event.target.open && act(this.loadOthers()));
  }

  /** Before the next frame, however many messages come. */
  #soon() {
    this.#frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const rooms = [...this.#chat.rooms.values()];
    rooms.sort((a, b) => Number(b.reserved) - Number(a.reserved) || a.name.localeCompare(b.name));
    this.#list.replaceChildren(...rooms.map((room) => this.#entry(room)));
    byId("me").textContent = line(this.#chat.identity.name);
  }

  async loadOthers() {
    const groups = (await api.groups()).filter((group) => !this.#chat.rooms.has(group.id) && !group.private);
    const entries = groups.map((group) =>
      el("li", {}, el("button", { type: "button", text: `# ${line(group.name)}`, on: { click: () => this.act(this.#join(group)) } })),
    );
    const none = el("li", { class: "quiet", text: t("no_other_groups") });
    this.#others.replaceChildren(...(entries.length ? entries : [none]));
  }

  async #join(group) {
    await this.#chat.join(group);
    await this.loadOthers();
  }

  #entry(room) {
    const current = room === this.#chat.current;
    const badge = (kind, n) =>
      n ? el("span", { class: `badge ${kind}`, title: t(kind, { count: n }), "aria-label": t(kind, { count: n }), text: count(n) }) : null;
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          class: room.unread ? "unread" : "",
          "aria-current": current ? "true" : null,
          data: { room: room.name },
          on: { click: () => this.#chat.select(room.id) },
        },
        el("span", { class: "name", text: `${room.isPrivate ? "🔒" : "#"} ${line(room.name)}` }),
        badge("mentions", room.mentions),
        badge("unread", room.unread),
      ),
    );
  }
}
