// The message box: Enter sends, Shift+Enter breaks the line, the up arrow edits one's last message, Tab completes names.

import { byId } from "./dom.js";
import { line } from "./harmless.js";
import { t } from "./words.js";

const MOST_ROWS = 8;

export class Composer {
  #chat;
  #messages;
  #input = byId("input");
  #about = byId("about-message");
  #room = null;
  /** `{ kind: "reply" | "edit", row }` */
  #target = null;

  constructor(chat, messages) {
    this.#chat = chat;
    this.#messages = messages;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => {
      this.#fit();
      if (this.#target?.kind !== "edit") this.#room?.keepDraft(this.#input.value);
    });
    this.#about.querySelector("button").addEventListener("click", () => this.#release());
    chat.changed.on((room) => room === this.#room && this.#takeBack());
  }

  show(room) {
    this.#room = room;
    this.#target = null;
    this.#about.hidden = true;
    this.#input.value = room.draft;
    this.#input.placeholder = t("message_box", { group: room.name });
    this.#input.ariaLabel = this.#input.placeholder;
    this.#fit();
  }

  focus() {
    this.#input.focus();
  }

  reply(row) {
    this.#aim("reply", row, t("replying", { name: this.#messages.nameOf(this.#room, row) }));
  }

  edit(row) {
    this.#aim("edit", row, t("editing"));
    this.#input.value = this.#room.log.current(row).body;
    this.#fit();
  }

  #aim(kind, row, words) {
    this.#target = { kind, row };
    this.#about.querySelector("span").textContent = words;
    this.#about.hidden = false;
    this.focus();
  }

  #release() {
    if (this.#target?.kind === "edit") this.#input.value = this.#room.draft;
    this.#target = null;
    this.#about.hidden = true;
    this.#fit();
    this.focus();
  }

  #send() {
    const body = this.#input.value.trim();
    if (!body) return;
    this.#chat.say(this.#room, this.#content(body));
    if (this.#target?.kind !== "edit") this.#room.keepDraft("");
    this.#input.value = this.#room.draft;
    this.#target = null;
    this.#about.hidden = true;
    this.#fit();
    this.sent?.();
  }

  #content(body) {
    switch (this.#target?.kind) {
      case "reply":
        return { kind: "reply", seq: this.#target.row.seq, body };
      case "edit":
        return { kind: "edit", seq: this.#target.row.seq, body };
      default:
        return { kind: "text", body };
    }
  }

  #key(event) {
    // A key that ends the writing of a Japanese or Chinese word sends nothing.
    // Safari says so by the key's code alone: the key that ends the word comes after the end of composing.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape" && this.#target) {
      this.#release();
    } else if (event.key === "ArrowUp" && !this.#input.value) {
      const own = this.#room.log.rows.findLast((row) => this.#chat.isMine(row) && !this.#room.log.current(row).deleted);
      if (own) this.edit(own);
      event.preventDefault();
    } else if (event.key === "Tab" && !event.shiftKey && this.#complete()) {
      event.preventDefault();
    }
  }

  /** Completes the name before the cursor; false if there is none. */
  #complete() {
    const end = this.#input.selectionStart;
    const word = /@?([^\s@]+)$/u.exec(this.#input.value.slice(0, end));
    if (!word) return false;
    const begun = word[1].toLowerCase();
    const found = this.#room.members.map((member) => line(member.name)).find((name) => name.toLowerCase().startsWith(begun));
    if (!found) return false;
    this.#input.setRangeText(`@${found} `, end - word[0].length, end, "end");
    this.#room.keepDraft(this.#input.value);
    return true;
  }

  /** What the hub refused comes back into an empty box. */
  #takeBack() {
    if (this.#input.value || this.#target || !this.#room.draft) return;
    this.#input.value = this.#room.draft;
    this.#fit();
  }

  #fit() {
    this.#input.rows = Math.min(MOST_ROWS, this.#input.value.split("\n").length);
  }
}
