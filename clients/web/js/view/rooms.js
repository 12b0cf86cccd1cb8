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
  #search = byId("other-search");
  #more = byId("other-more");
  #next = "";
  #look = 0;
  #frame = 0;

  /** `act(promise)` tells the person when something fails. */
  constructor(chat, act) {
    this.#chat = chat;
    this.act = act;
    chat.roomsChanged.on(() => this.draw());
    chat.counts.on(() => this.#soon());
    byId("others").addEventListener("toggle", (event) => event.target.open && act(this.loadOthers()));
    this.#search.placeholder = t("find_group");
    this.#search.addEventListener("input", () => act(this.loadOthers()));
    this.#more.addEventListener("click", () => act(this.#loadMore()));
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
    this.#next = "";
    this.#others.scrollTop = 0;
    const entries = await this.#page();
    if (!entries) return;
    const none = el("li", { class: "quiet", text: t("no_other_groups") });
    this.#others.replaceChildren(...(entries.length ? entries : [none]));
  }

  async #loadMore() {
    const entries = await this.#page();
    if (entries) this.#others.append(...entries);
  }

  /** The next page of the groups one could join; `null` if something else was looked for meanwhile. */
  async #page() {
    const look = (this.#look += 1);
    const { groups, next } = await api.groups({ search: this.#search.value.trim(), after: this.#next });
    if (look !== this.#look) return null;
    this.#next = next;
    this.#more.hidden = !next;
    const others = groups.filter((group) => !this.#chat.rooms.has(group.id) && !group.private);
    return others.map((group) =>
      el("li", {}, el("button", { type: "button", text: `# ${line(group.name)}`, on: { click: () => this.act(this.#join(group)) } })),
    );
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
