// One row of the timeline as an element.

import { authorMark, mark } from "./author-mark.js";
import { colourClass } from "./nick.js";
import { el, iconButton } from "./dom.js";
import { line } from "./harmless.js";
import { icon } from "./icons.js";
import { rich } from "./rich.js";
import { hourOf, wholeOf } from "./time.js";
import { t } from "./words.js";
import { MEMBER } from "../wire/policy.js";

/** What one tap offers as a reaction. */
export const EMOJI = ["👍", "❤️", "😂", "🎉", "😮", "😢"];

export class MessageView {
  #actions;
  #identity;
  #people;
  #open = new Set();

  /** `actions`: `reply(row)`, `say(content)`, `edit(row)`, `remove(row)`, `hide(row)`, `jump(seq)`, `redraw()`. */
  constructor({ identity, people }, actions) {
    this.#identity = identity;
    this.#people = people;
    this.#actions = actions;
  }

  nameOf(room, row) {
    return this.#shown(row.content.author || room.nameOf(row.device), row.device);
  }

  #shown(name, device) {
    return this.#people.shown(line(name), device) || t("nobody");
  }

  /** Tells two states of a row apart. */
  signature(room, row, now, follows) {
    const reactions = [...now.reactions].map(([emoji, devices]) => `${emoji}${devices.size}`).join();
    const receipt = room.receipts.get(row.seq);
    const heard = receipt ? `${receipt.heard}/${receipt.present}/${receipt.missing.length}` : "";
    const reply = row.content.kind === "reply" ? Boolean(room.log.find(row.content.seq)) : "";
    return [mark(room, now.by), now.body.length, now.edited, now.deleted, now.hidden, reactions, heard, follows, reply, this.#open.has(row.seq)].join("|");
  }

  /** `follows`: the row before is of the same author and of about the same time. */
  element(room, row, now, follows) {
    const own = row.device === this.#identity.device;
    const name = this.nameOf(room, row);
    const head = el("header", {}, el("b", { class: colourClass(row.device), text: name }), authorMark(room, now.by), this.#time(row), this.#lane(row));
    const article = el(
      "article",
      {
        class: ["message", own && "own", follows && "follows", now.deleted && "deleted", room.authorState(now.by) === "broken" && "broken"].filter(Boolean).join(" "),
        tabindex: "-1",
        "aria-label": `${name}, ${hourOf(row.sentAt)}`,
        data: { seq: row.seq },
      },
      head,
      this.#quote(room, row),
      this.#body(row, now),
      this.#reactions(row, now),
      own ? this.#receipt(room, row) : null,
    );
    if (!now.deleted) this.#offerTools(article, room, row);
    return article;
  }

  /** What is said but not logged yet. */
  pending(entry) {
    const body = entry.content.body ?? entry.content.emoji ?? "";
    const words = el("p", { class: "body", text: line(body) });
    return el("article", { class: "message own pending" }, words, el("small", { text: entry.durable ? t("stored") : t("sending") }));
  }

  #time(row) {
    const iso = new Date(row.sentAt).toISOString();
    return el("time", { datetime: iso, title: wholeOf(row.sentAt), text: hourOf(row.sentAt) });
  }

  #lane(row) {
    return el("span", { class: `lane lane-${row.lane}`, title: t(`lane_${row.lane}`), text: row.lane });
  }

  #quote(room, row) {
    if (row.content.kind !== "reply") return null;
    const { seq } = row.content;
    const original = room.log.find(seq);
    const words = original
      ? `${this.nameOf(room, original)}: ${line(room.log.current(original).body).slice(0, 120)}`
      : t("original_missing");
    return el("button", { type: "button", class: "quote", text: words, on: { click: () => this.#actions.jump(seq) } });
  }

  #body(row, now) {
    if (now.deleted) return el("p", { class: "body quiet", text: t(now.hidden ? "hidden" : "deleted") });
    if (row.content.kind === "unknown") return el("p", { class: "body quiet", text: t("unknown_kind") });
    const more = () => el("button", { type: "button", text: t("show_all"), on: { click: () => this.#showAll(row) } });
    const edited = now.edited ? el("small", { class: "edited", text: ` ${t("edited")}` }) : null;
    return el("p", { class: "body", dir: "auto" }, ...rich(now.body, this.#identity.name, this.#open.has(row.seq), more), edited);
  }

  #showAll(row) {
    this.#open.add(row.seq);
    this.#actions.redraw();
  }

  #reactions(row, now) {
    if (!now.reactions.size || now.deleted) return null;
    const buttons = [...now.reactions].map(([emoji, devices]) => {
      const mine = devices.has(this.#identity.device);
      return el("button", {
        type: "button",
        "aria-pressed": String(mine),
        text: `${line(emoji).slice(0, 16)} ${devices.size}`,
        on: { click: () => this.#react(row, emoji, mine) },
      });
    });
    return el("div", { class: "reactions" }, ...buttons);
  }

  #react(row, emoji, remove) {
    this.#actions.say({ kind: "react", seq: row.seq, emoji, remove });
  }

  #receipt(room, row) {
    const receipt = room.receipts.get(row.seq);
    if (!receipt) return null;
    const names = receipt.missing.map((member) => this.#shown(room.nameOf(member.device) || member.name, member.device));
    const detail = [names.length && t("not_yet", { names: names.join(", ") }), receipt.silent && t("silent", { count: receipt.silent })];
    const title = detail.filter(Boolean).join("; ");
    return el("details", { class: `receipt ${receipt.complete ? "complete" : ""}` }, el("summary", { text: heardWords(receipt) }), title);
  }

  /** Buttons come when a message is pointed at or focused: most never are. */
  #offerTools(article, room, row) {
    const offer = () => article.querySelector(".tools") ?? article.append(this.#tools(room, row));
    article.addEventListener("pointerenter", offer);
    article.addEventListener("focusin", offer);
  }

  #tools(room, row) {
    const actions = this.#actions;
    const own = row.device === this.#identity.device;
    const emoji = EMOJI.map((one) => iconButton(one, `${t("react")} ${one}`, () => this.#react(row, one, false)));
    const tools = [iconButton(icon("reply"), t("reply"), () => actions.reply(row))];
    if (own && row.content.kind !== "unknown") {
      tools.push(iconButton(icon("edit"), t("edit"), () => actions.edit(row)), iconButton(icon("delete"), t("delete"), () => actions.remove(row)));
    }
    if (!own && (room.standing?.role ?? MEMBER) > MEMBER) tools.push(iconButton(icon("hide"), t("hide"), () => actions.hide(row)));
    return el("div", { class: "tools" }, ...emoji, ...tools);
  }
}

function heardWords({ heard, present, complete }) {
  // The author is counted too.
  if (present <= 1) return t("heard_nobody");
  return complete && heard === present ? t("heard_all", { present }) : t("heard", { heard, present });
}
