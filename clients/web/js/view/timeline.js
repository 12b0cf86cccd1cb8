// The messages of one room: a window of rows that moves over the log as the reader scrolls, so that the page stays small.

import { byId } from "./dom.js";
import { Items } from "./timeline-items.js";
import { t } from "./words.js";

/** Rows in the page at most, and by how many the window moves. */
const WINDOW = 180;
const STEP = 60;
/** This near an end, in pixels, the window moves. */
const NEAR = 500;
/** This near the end the reader follows it. */
const AT_END = 40;

export class Timeline {
  #chat;
  #items;
  #box = byId("timeline");
  #latest = byId("latest");
  #room = null;
  /** Seq of the window's first row; `null`: the window follows the end. */
  #from = null;
  #drawn = new Map();
  #frame = 0;
  #fresh = 0;
  #unreadAfter = null;

  constructor(chat, messages) {
    this.#chat = chat;
    this.#items = new Items(chat, messages);
    this.#box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#box.addEventListener("keydown", (event) => this.#key(event));
    this.#latest.addEventListener("click", () => this.toEnd());
    // A phone's keyboard, a banner: whoever reads the end stays there.
    new ResizeObserver(() => this.followsEnd && this.#stick()).observe(this.#box);
    chat.appended.on((room, rows) => room === this.#room && this.#appended(rows));
    chat.changed.on((room) => room === this.#room && this.redraw());
  }

  get followsEnd() {
    return this.#from === null;
  }

  /** Shows a room from its end, with a line where unread begins. */
  show(room) {
    this.#room = room;
    this.#from = null;
    this.#fresh = 0;
    this.#drawn.clear();
    this.#box.replaceChildren();
    this.markUnread();
  }

  /** Draws the line where unread begins now. */
  markUnread() {
    this.#unreadAfter = this.#room.unread ? this.#room.lastRead : null;
    this.redraw();
  }

  toEnd() {
    this.#from = null;
    this.#fresh = 0;
    this.redraw();
    this.#stick();
    this.atEnd?.();
  }

  /** Brings a message into view, reading older pages as needed. */
  async jump(seq) {
    const room = this.#room;
    while (seq < room.log.oldest && (await this.#chat.loadOlder(room, 500))) if (room !== this.#room) return;
    const at = room.log.indexOf(seq);
    if (!room.log.rows[at]) return;
    this.#from = room.log.rows[Math.max(0, at - STEP / 2)].seq;
    this.#draw();
    const target = this.#box.querySelector(`[data-seq="${room.log.rows[at].seq}"]`);
    target?.scrollIntoView({ block: "center" });
    target?.focus({ preventScroll: true });
    target?.classList.add("found");
  }

  /** Draws before the next frame, however often it is asked. */
  redraw() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
    // A page in the background gets no frames and must not fall behind.
    if (document.hidden) this.#draw();
  }

  #appended(rows) {
    if (this.followsEnd) this.#room.log.trim();
    else this.#fresh += rows.length;
    this.redraw();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const room = this.#room;
    if (!room) return;
    const [start, end] = this.#window(room.log.rows);
    const anchor = this.followsEnd ? null : this.#anchor();
    const items = this.#items.list(room, start, end, this.#unreadAfter);
    this.#place(items);
    if (anchor) this.#hold(anchor);
    else this.#stick();
    this.#latest.hidden = this.followsEnd;
    this.#latest.textContent = this.#fresh ? `↓ ${t("latest_new", { count: this.#fresh })}` : `↓ ${t("latest")}`;
    // A first page that does not fill the screen.
    if (start === 0 && this.#box.scrollHeight <= this.#box.clientHeight) this.#older();
  }

  #window(rows) {
    if (this.followsEnd) return [Math.max(0, rows.length - WINDOW), rows.length];
    const start = this.#room.log.indexOf(this.#from);
    return [start, Math.min(rows.length, start + WINDOW)];
  }

  /** Puts the items' elements in order, keeping those that still say the same. */
  #place(items) {
    const kept = new Map();
    let before = null;
    for (const { key, signature, make } of items) {
      const old = this.#drawn.get(key);
      const drawn = old?.signature === signature ? old : { signature, element: make() };
      if (old && old !== drawn) replace(old.element, drawn.element);
      const place = before ? before.nextSibling : this.#box.firstChild;
      if (drawn.element !== place) this.#box.insertBefore(drawn.element, place);
      before = drawn.element;
      kept.set(key, drawn);
    }
    while (before?.nextSibling) before.nextSibling.remove();
    if (!before) this.#box.replaceChildren();
    this.#drawn = kept;
  }

  /** The first message in view, and where it is. */
  #anchor() {
    const top = this.#box.getBoundingClientRect().top;
    for (const [key, { element }] of this.#drawn) {
      const box = element.getBoundingClientRect();
      if (element.dataset.seq && box.bottom > top) return { key, offset: box.top - top };
    }
    return { key: "", offset: 0 };
  }

  #hold({ key, offset }) {
    const element = this.#drawn.get(key)?.element;
    if (!element) return;
    const now = element.getBoundingClientRect().top - this.#box.getBoundingClientRect().top;
    this.#box.scrollTop += now - offset;
  }

  #stick() {
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  #scrolled() {
    const room = this.#room;
    if (!room?.log.rows.length) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#box;
    const below = scrollHeight - scrollTop - clientHeight;
    const { rows } = room.log;
    const [start, end] = this.#window(rows);
    if (this.followsEnd && below > AT_END) {
      this.#from = rows[start].seq;
      this.redraw();
    } else if (!this.followsEnd && end === rows.length && below <= AT_END) {
      this.toEnd();
    } else if (!this.followsEnd && end < rows.length && below < NEAR) {
      this.#from = rows[Math.min(start + STEP, Math.max(0, rows.length - WINDOW))].seq;
      this.redraw();
    }
    if (scrollTop < NEAR && !this.followsEnd) this.#older();
  }

  /** Moves the window up, or reads older pages. */
  async #older() {
    const room = this.#room;
    const start = this.#window(room.log.rows)[0];
    if (start > 0) {
      this.#from = room.log.rows[Math.max(0, start - STEP)].seq;
      this.redraw();
      return;
    }
    if (room.log.complete || room.loading) return;
    const more = await this.#chat.loadOlder(room).catch(() => false);
    if (!more || room !== this.#room) return;
    if (!this.followsEnd) {
      const at = room.log.indexOf(this.#from);
      this.#from = room.log.rows[Math.max(0, at - STEP)]?.seq ?? this.#from;
    }
    this.redraw();
  }

  /** Arrows go from message to message, as in any feed. */
  #key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || event.target.closest("button, a, summary")) return;
    const messages = [...this.#box.querySelectorAll("article[data-seq]")];
    const at = messages.indexOf(document.activeElement);
    const next = at < 0 ? messages.at(-1) : messages[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

/** Puts an element in another's place, and the focus with it. */
function replace(old, element) {
  const focused = old.contains(document.activeElement);
  old.replaceWith(element);
  if (focused) element.focus({ preventScroll: true });
}
