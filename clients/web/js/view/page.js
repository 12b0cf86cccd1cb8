// The page around the parts: which room is shown, what is said of the connection, what the buttons do.

import * as api from "../chat/api.js";
import { byId } from "./dom.js";
import { Composer } from "./composer.js";
import * as dialogs from "./dialogs.js";
import { line } from "./harmless.js";
import { MemberList } from "./members.js";
import { MessageView } from "./message.js";
import { Notifier } from "./notify.js";
import { RoomList } from "./rooms.js";
import { Search } from "./search.js";
import { Speech } from "./speech.js";
import { Timeline } from "./timeline.js";
import { t } from "./words.js";

/** How long a quiet line stays. */
const NOTICE_MS = 6000;

export class Page {
  #chat;
  #shown = null;
  #banner = byId("banner");
  #bannerTimer = 0;
  #wasOpen = false;

  constructor(chat) {
    this.#chat = chat;
    this.messages = new MessageView(chat, {
      reply: (row) => this.composer.reply(row),
      edit: (row) => this.composer.edit(row),
      say: (content) => chat.say(chat.current, content),
      remove: (row) => this.#remove(row),
      hide: (row) => this.#hide(row),
      jump: (seq) => this.timeline.jump(seq),
      redraw: () => this.timeline.redraw(),
    });
    this.timeline = new Timeline(chat, this.messages);
    this.timeline.atEnd = () => this.#read(chat.current);
    this.composer = new Composer(chat, this.messages);
    this.composer.sent = () => this.timeline.toEnd();
    this.rooms = new RoomList(chat, (promise) => this.#act(promise));
    this.members = new MemberList(chat, (promise) => this.#act(promise));
    this.search = new Search(chat, this.messages, this.timeline);
    this.notifier = new Notifier(chat, this.messages, (words) => this.say(words));
    this.speech = new Speech(chat, this.messages);
    chat.roomsChanged.on(() => this.#selected());
    chat.state.on((state) => this.#connection(state));
    chat.people.apart.on((name) => this.say(t("shown_apart", { name })));
    chat.notice.on((room, words) => this.say(`${line(room.name)}: ${words}`));
    chat.appended.on((room) => this.#read(room));
    chat.historyLost.on((room) => this.say(`${line(room.name)}: ${t("history_lost")}`));
    chat.loaded.on((room) => this.#loaded(room));
    chat.changed.on((room) => room === this.#shown && this.#about());
    this.#buttons();
    this.#keys();
  }

  /** A quiet line above the messages. `ms` 0: until something else is said. */
  say(words, ms = NOTICE_MS) {
    clearTimeout(this.#bannerTimer);
    this.#banner.textContent = words;
    this.#banner.hidden = !words;
    if (ms) this.#bannerTimer = setTimeout(() => (this.#banner.hidden = true), ms);
  }

  #selected() {
    const room = this.#chat.current;
    if (!room || room === this.#shown) return;
    this.#shown = room;
    this.search.toggle(false);
    this.timeline.show(room);
    this.composer.show(room);
    this.members.show(room);
    this.#about();
    this.#read(room);
    this.#drawer("rooms", false);
    if (matchMedia("(hover: hover)").matches) this.composer.focus();
  }

  #about() {
    const room = this.#shown;
    byId("room-name").textContent = line(room.name);
    byId("room-about").textContent = [room.isPrivate && t("private"), room.trouble].filter(Boolean).join(" · ");
  }

  #loaded(room) {
    if (room === this.#shown) this.timeline.markUnread();
    this.#read(room);
  }

  /** What is at the end and in view was read. */
  #read(room) {
    if (room === this.#shown && document.visibilityState === "visible" && this.timeline.followsEnd) room.markRead();
    this.#chat.countsChanged();
  }

  #connection(state) {
    document.body.dataset.state = state;
    if (state === "open") {
      if (this.#wasOpen) this.say(t("state_again"));
      this.#wasOpen = true;
    } else if (this.#wasOpen) {
      this.say(t("state_waiting"), 0);
    }
  }

  async #remove(row) {
    if (await dialogs.sure(t("delete_sure"), t("delete"))) this.#chat.say(this.#chat.current, { kind: "delete", seq: row.seq });
  }

  async #hide(row) {
    if (await dialogs.sure(t("hide_sure"), t("hide"))) this.#chat.say(this.#chat.current, { kind: "moderate", seq: row.seq });
  }

  #buttons() {
    const on = (id, act) => byId(id).addEventListener("click", () => this.#act(act()));
    on("me", async () => this.#chat.rename(await dialogs.askName(this.#chat.identity.name)));
    on("new-group", () => this.#newGroup());
    on("use-invite", () => this.#useInvite());
    on("share", () => dialogs.showShare());
    on("invite", () => dialogs.showInvite(this.#chat.current, this.#chat.identity));
    on("leave", () => this.#leave());
    byId("menu").addEventListener("click", () => this.#drawer("rooms"));
    byId("show-members").addEventListener("click", () => this.#drawer("members"));
    document.querySelector("main").addEventListener("click", (event) => {
      if (!event.target.closest("#menu, #show-members")) for (const name of ["rooms", "members"]) this.#drawer(name, false);
    });
    document.addEventListener("visibilitychange", () => this.#shown && this.#read(this.#shown));
    addEventListener("beforeunload", (event) => {
      const unsent = [...this.#chat.rooms.values()].some((room) => room.outbox.waiting.some((entry) => !entry.durable));
      if (unsent) event.preventDefault();
    });
  }

  async #newGroup() {
    const wish = await dialogs.askGroup();
    if (!wish) return;
    await this.#chat.join(await api.create(wish, this.#chat.identity));
  }

  async #useInvite() {
    const given = await dialogs.askInvite();
    if (!given) return;
    await this.#chat.join(await api.redeem(given.code, this.#chat.identity));
  }

  async #leave() {
    const room = this.#chat.current;
    if (await dialogs.sure(t("leave_sure", { group: line(room.name) }), t("leave"))) await this.#chat.leave(room);
  }

  /** On narrow screens groups and members come from the side. */
  #drawer(name, open = !document.body.classList.contains(`with-${name}`)) {
    document.body.classList.toggle(`with-${name}`, open);
    byId(name === "rooms" ? "menu" : "show-members").ariaExpanded = String(open);
  }

  #keys() {
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") for (const name of ["rooms", "members"]) this.#drawer(name, false);
      if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        this.#neighbour(event.key === "ArrowDown" ? 1 : -1);
      }
    });
  }

  #neighbour(step) {
    const buttons = [...document.querySelectorAll("#room-list button")];
    const at = buttons.findIndex((button) => button.ariaCurrent === "true");
    buttons[(at + step + buttons.length) % buttons.length]?.click();
  }

  async #act(promise) {
    try {
      await promise;
    } catch (error) {
      if (error.reason === "https") dialogs.showHttps();
      else this.say(error.message);
    }
  }
}
