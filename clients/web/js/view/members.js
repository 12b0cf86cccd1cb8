// Who is in the group that is shown: presence and lane, looked up while the page is seen.

import * as api from "../chat/api.js";
import { moderate, standing } from "../chat/moderation.js";
import { MEMBER, roleOf } from "../wire/policy.js";
import * as dialogs from "./dialogs.js";
import { byId, el } from "./dom.js";
import { line } from "./harmless.js";
import { colourClass, shortId } from "./nick.js";
import { t } from "./words.js";

const EVERY_MS = 4000;
/** Of so many looks one asks who may do what, which changes seldom. */
const LOOKS_PER_STANDING = 15;
/** Members that are listed by name; who is here comes first. */
const MOST_SHOWN = 300;
const LANE_WORDS = { multicast: "lane_multicast", tcp: "lane_member_tcp", text: "lane_text", broadcast: "lane_broadcast" };

export class MemberList {
  #chat;
  #room = null;
  #timer = 0;
  #looks = 0;

  /** `act(promise)` tells the person when something fails. */
  constructor(chat, act) {
    this.#chat = chat;
    this.act = act;
    chat.loaded.on((room) => room === this.#room && this.#look());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#look());
  }

  show(room) {
    this.#room = room;
    this.#looks = 0;
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
      // Nobody owns the reserved group, so nobody has a role in it.
      if (!room.reserved && this.#looks++ % LOOKS_PER_STANDING === 0) {
        room.standing = await standing(this.#chat, room);
        if (room === this.#room) this.#draw();
      }
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
    byId("member-list").replaceChildren(...shown, ...this.#banned());
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
      this.#name(`name ${colourClass(device || client)}`, shown, own, device),
      here ? badge : el("span", { class: "quiet", text: t("away") }),
    );
  }

  /** The name, a button where this browser may decide about the device. */
  #name(css, shown, own, device) {
    const text = shown + (own ? ` (${t("you")})` : "");
    const mayDecide = device && this.#role() > MEMBER && this.#role() > this.#rank(device);
    if (!mayDecide) return el("span", { class: css, text });
    const title = t("moderate", { name: shown });
    return el("button", { type: "button", class: css, title, text, on: { click: () => this.act(this.#decide(shown, device)) } });
  }

  #role() {
    return this.#room.standing?.role ?? MEMBER;
  }

  #rank(device) {
    const { policy, owner } = this.#room.standing;
    return device === this.#chat.identity.device ? Infinity : roleOf(policy, owner, device);
  }

  /** Who is banned, for those who may lift it. */
  #banned() {
    if (this.#role() === MEMBER) return [];
    return this.#room.standing.policy.bans.map((device) => {
      const name = line(this.#room.nameOf(device)) || shortId(device);
      const lift = () => this.act(this.#change(name, { kind: "unban", device }));
      const button = el("button", { type: "button", text: t("unban"), on: { click: lift } });
      return el("li", { class: "away" }, el("span", { class: "name", text: `${name} (${t("banned")})` }), button);
    });
  }

  async #decide(name, device) {
    const { policy } = this.#room.standing;
    const choice = await dialogs.askModeration({ name, device, role: this.#role(), rank: this.#rank(device), isMuted: device in policy.mutes });
    if (!choice) return;
    const { change, forMs } = choice;
    const [question, button] = { kick: [t("kick_sure", { name, device: shortId(device) }), t("kick")], ban: [t("ban_sure", { name, device: shortId(device) }), t("ban")] }[change.kind] ?? [];
    if (!question || (await dialogs.sure(question, button))) await this.#change(name, change, forMs);
  }

  async #change(name, change, forMs) {
    const room = this.#room;
    await moderate(this.#chat, room, change, forMs);
    this.#chat.notice.emit(room, t(`did_${change.kind}`, { name }));
    this.#looks = 0;
    await this.#look();
  }
}
