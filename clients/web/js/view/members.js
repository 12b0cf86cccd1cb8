// Who is in the group that is shown: presence and lane, looked up while the page is seen.

import * as api from "../chat/api.js";
import { byId, el } from "./dom.js";
import { line } from "./harmless.js";
import { colourClass, shortId } from "./nick.js";
import { t } from "./words.js";

const EVERY_MS = 4000;
/** Members that are listed by name; who is here comes first. */
const MOST_SHOWN = 300;
const LANE_WORDS = { multicast: "lane_multicast", tcp: "lane_member_tcp", text: "lane_text", broadcast: "lane_broadcast" };

export class MemberList {
  #chat;
  #room = null;
  #timer = 0;

  constructor(chat) {
    this.#chat = chat;
    chat.loaded.on((room) => room === this.#room && this.#look());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#look());
  }

  show(room) {
    this.#room = room;
    this.#draw();
    this.#look();
  }

  async #look() {
    clearTimeout(this.#timer);
    const room = this.#room;
    if (!room || document.hidden) return;
    try {
      room.members = await this.#chat.withTicket(room, (shown) => api.members(room.id, shown));
      if (room === this.#room) this.#draw();
    } catch {
      // The banner says that the hub is away; the list stays as it was.
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), EVERY_MS);
  }

  #draw() {
    const { members } = this.#room;
    byId("members-here").textContent = t("here", { count: members.filter((member) => member.here).length });
    const shown = members.slice(0, MOST_SHOWN).map((member) => this.#entry(member));
    const rest = members.length - shown.length;
    if (rest > 0) shown.push(el("li", { class: "quiet", text: t("more_members", { count: rest }) }));
    byId("member-list").replaceChildren(...shown);
    byId("invite").hidden = !this.#room.isPrivate;
    byId("leave").hidden = this.#room.reserved;
  }

  #entry({ name, device, client, lane, here }) {
    const own = client === this.#chat.identity.clientId;
    const words = lane && LANE_WORDS[lane] ? t(LANE_WORDS[lane]) : "";
    const badge = lane ? el("span", { class: `lane lane-${line(lane)}`, title: words, text: line(lane) }) : null;
    const known = line(name || (device && this.#room.nameOf(device)) || "");
    const shown = known ? this.#chat.people.shown(known, device) : line(shortId(client));
    return el(
      "li",
      { class: here ? "here" : "away", title: here ? null : t("away") },
      el("span", { class: `name ${colourClass(device || client)}`, text: shown + (own ? ` (${t("you")})` : "") }),
      here ? badge : el("span", { class: "quiet", text: t("away") }),
    );
  }
}
