// The whole chat without a screen: rooms over one session. Views listen to its signals.

import { concat, toHex } from "../wire/bytes.js";
import * as frames from "../wire/frames.js";
import { encodeContent } from "../wire/content.js";
import { Items } from "../wire/items.js";
import { decodeRun } from "../wire/run.js";
import { Acks } from "./acks.js";
import * as api from "./api.js";
import { Authors } from "./authors.js";
import { isMention } from "./mention.js";
import { People } from "./people.js";
import { ReceiptWatch } from "./receipts.js";
import { Room } from "./room.js";
import { Session } from "./session.js";
import { Signal } from "./signal.js";
import { forget, load, loadAll, loadTab, save, saveTab, watch } from "./store.js";

const NOTHING = new Uint8Array(0);
/** Messages of a page of history. */
const PAGE = 60;
/** As google.rpc.Code: what waiting mends. */
const PASSING = new Set([4, 8, 10, 14]);
/** The client id belongs to another publisher. */
const OTHER_PUBLISHER = 6;
/** Among others: the log that messages were signed for is not the group's any more. */
const FAILED_PRECONDITION = 9;
/** A ticket that ran out, while the machine slept or by another clock: a new one mends it, if anything does. */
const DENIED = new Set([7, 16]);
const RETRY_MS = 1000;
/** Within so many retries the hub tells of a log that was begun anew. */
const MOST_RETRIES = 10;
/** A hub's session has at most 64 groups. */
const MAX_ROOMS = 64;
/** Another tab reads on while messages come. */
const RECOUNT_MS = 100;

/** The groups that this browser is in, besides `everyone`. */
function joined() {
  // As they were kept before each had its own key.
  for (const id of load("rooms", [])) save(`joined.${id}`, true);
  forget("rooms");
  return loadAll("joined.").filter(([, is]) => is).map(([id]) => id);
}

/** A promise that is resolved by its `resolve`; those who wait for `former` wait for it too. */
function promised(former) {
  const next = {};
  next.promise = new Promise((resolve) => (next.resolve = resolve));
  if (former) next.promise.then(former.resolve);
  return next;
}

/** Whether the registry said so for good: the group is gone, or closed to this browser. */
const isFinal = (error) => error.status === 403 || error.status === 404;

/** The hub knows no group yet. */
export class NoRegistry extends Error {}

export class Chat {
  /** `state(state, detail)`: of the session. */
  state = new Signal();
  /** `rooms()`: which rooms there are, or their counts. */
  roomsChanged = new Signal();
  /** `appended(room, rows, fresh)`: rows at the end; `fresh` if they were said just now. */
  appended = new Signal();
  /** `changed(room)`: anything else of a room. */
  changed = new Signal();
  /** `historyLost(room)`: its log was begun anew. */
  historyLost = new Signal();
  /** `loaded(room)`: the newest page is there, and what of it is unread. */
  loaded = new Signal();
  /** `counts()`: what is unread. */
  counts = new Signal();
  /** `notice(room, words)`: something that the person should know. */
  notice = new Signal();

  rooms = new Map();
  current = null;
  #session = null;
  #everyone = "";
  #tag = 1;
  #sent = new Map();
  #acks;
  #authors = new Authors();
  #renewals = new Map();
  /** Resolved once everything so far is signed and sent. */
  #publishing = Promise.resolve();
  /** The secret of the session, once it has proven the device. */
  #secret = promised();

  constructor(identity) {
    this.identity = identity;
    this.people = new People(identity);
    this.#acks = new Acks((frame) => this.#session.send(frame));
    this.receipts = new ReceiptWatch(this);
    this.#authors.doubted.on((room) => this.changed.emit(room));
  }

  /** Joins `everyone` and the groups of last time, and opens the session. */
  async start() {
    const { everyone } = await api.about();
    if (!everyone) throw new NoRegistry();
    this.#everyone = everyone;
    const others = joined();
    for (const group of await api.groupsById([this.#everyone, ...others])) {
      if (this.rooms.size < MAX_ROOMS) this.#add(group);
    }
    await Promise.allSettled(others.map((id) => this.#enter(id)));
    const last = loadTab("current") ?? load("current");
    this.select(this.rooms.has(last) ? last : this.#everyone);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.#session = new Session(`${scheme}://${location.host}/ws`, this);
    for (const room of this.rooms.values()) if (!room.ticket) this.#stayPresent(room);
    this.#followTabs();
  }

  /** What another tab of this browser does is true here too. */
  #followTabs() {
    this.identity.follow(() => this.#renamed());
    const recount = new Map();
    watch("read.", (id) => {
      const room = this.rooms.get(id);
      if (!room || recount.has(id)) return;
      // Once for all that the other tab reads meanwhile.
      const count = () => {
        recount.delete(id);
        room.recount(this.isMine, this.mentionsMe);
        this.roomsChanged.emit();
        this.counts.emit();
      };
      recount.set(id, setTimeout(count, RECOUNT_MS));
    });
    watch("joined.", (id, is) => {
      const room = this.rooms.get(id);
      if (is && !room) this.#joinedElsewhere(id);
      else if (!is && room) this.#forgetRoom(room);
    });
  }

  async #joinedElsewhere(id) {
    const room = await this.#enter(id).catch(() => null);
    if (room) this.#subscribe(room);
  }

  /** Shows a group that this browser is a member of. Joining it again, which is signed, tells what it is, if it is private. */
  async #enter(id) {
    if (this.rooms.has(id)) return null;
    const joined = await api.join(id, this.identity);
    if (this.rooms.has(id) || this.rooms.size >= MAX_ROOMS) return null;
    const room = this.#add(joined.group);
    this.#present(room, joined);
    return room;
  }

  /** Becomes a member of a group and hears it. */
  async join(group) {
    if (this.rooms.size >= MAX_ROOMS) throw new Error("leave a group first: a session has at most 64");
    const room = this.rooms.get(group.id) ?? this.#add(group);
    await api.join(room.id, this.identity, "");
    await this.#renew(room);
    this.#subscribe(room);
    if (room.id !== this.#everyone) save(`joined.${room.id}`, true);
    this.select(room.id);
    return room;
  }

  async leave(room) {
    forget(`joined.${room.id}`);
    this.#forgetRoom(room);
    await api.leave(room.id, this.identity);
    await api.leave(room.id, this.identity, this.identity.clientId);
  }

  #forgetRoom(room) {
    this.#session.send(frames.unsubscribe(room.id));
    clearTimeout(this.#renewals.get(room.id));
    this.rooms.delete(room.id);
    this.roomsChanged.emit();
    if (this.current === room) this.select(this.#everyone);
  }

  select(id) {
    this.current = this.rooms.get(id) ?? this.rooms.values().next().value ?? null;
    const current = this.current?.id ?? "";
    saveTab("current", current);
    save("current", current);
    this.roomsChanged.emit();
    if (this.current) this.receipts.follow(this.current);
  }

  rename(name) {
    this.identity.rename(name);
    this.#renamed();
  }

  #renamed() {
    this.roomsChanged.emit();
    for (const room of this.rooms.values()) this.#stayPresent(room);
  }

  /** Says something; it is shown at once and sent until the hub has it. */
  say(room, content) {
    const [type, payload] = encodeContent(this.identity.name, content);
    const entry = room.outbox.add({ type, payload, content: { author: this.identity.name, ...content } });
    this.#publish(room, [entry]);
    this.changed.emit(room);
    return entry;
  }

  /** Loads what is before the oldest row, once at a time; true if there was something. */
  async loadOlder(room, limit = PAGE) {
    if (room.log.complete || room.log.next === 0) return false;
    room.loading ??= this.#page(room, limit).finally(() => (room.loading = null));
    return room.loading;
  }

  /** Something was read. */
  countsChanged() {
    this.counts.emit();
  }

  isMine = (row) => row.device === this.identity.device;
  mentionsMe = (row) => isMention(row.content.body ?? "", this.identity.name);

  // What the session calls.

  /** The first message: the place in `everyone` comes along, or the hub would begin it at its head. */
  hello() {
    const { clientId, device, name, streamKey } = this.identity;
    const everyone = this.rooms.get(this.#everyone);
    return concat([frames.hello({ clientId, device, name, streamKey }), everyone ? this.#subscription(everyone) : NOTHING]);
  }

  /** The frame that proves the device. */
  async prove(challenge) {
    this.#secret.challenge = toHex(challenge);
    return frames.prove(await this.identity.prove(challenge));
  }

  welcome() {
    this.#sent.clear();
    // What was told while the session was not open.
    const everyone = this.rooms.get(this.#everyone);
    if (everyone?.log.next > 0) this.#acks.delivered(everyone.id, everyone.log.id, everyone.log.head);
    for (const room of this.rooms.values()) {
      if (room.id !== this.#everyone) this.#subscribe(room);
      for (const batch of room.outbox.batches()) this.#publish(room, batch);
    }
  }

  /** The hub knows the device: its challenge, which nobody else has seen, proves it for requests by HTTP from now on. */
  proven() {
    this.#secret.resolve(this.#secret.challenge);
  }

  onState(state, detail) {
    if (state !== "open") this.#secret = promised(this.#secret);
    this.state.emit(state, detail);
  }

  run(run) {
    const room = this.rooms.get(run.group);
    if (!room || run.log !== room.log.id) return;
    for (const message of run.messages.filter((message) => this.identity.published(message))) {
      room.outbox.done(message.clientSeq, message.client !== this.identity.clientId);
    }
    const rows = room.log.append(run.messages, "tcp");
    this.#acks.delivered(room.id, room.log.id, room.log.head);
    room.count(rows, this.isMine, this.mentionsMe);
    // The room that is shown gives back what its reader does not need.
    if (room !== this.current) room.log.trim();
    this.appended.emit(room, rows, true);
    if (rows.some(this.isMine) && room === this.current) this.receipts.follow(room);
  }

  frame(frame) {
    const room = this.rooms.get(frame.group);
    switch (frame.kind) {
      case "subscribed":
        if (room) this.#begun(room, frame);
        break;
      case "published":
        this.#published(frame);
        break;
      case "gap":
        room?.log.lose(frame.first, frame.last);
        if (room) this.changed.emit(room);
        break;
      case "error":
        this.#failed(frame, room);
        break;
      case "unsubscribed":
        if (room && DENIED.has(frame.code)) this.#notHeard(room, frame.code, frame.message);
        else if (room && frame.code !== 0) this.#ended(room, frame.message);
        break;
      default:
        break;
    }
  }

  #add(group) {
    const room = new Room(group, this.#authors);
    this.rooms.set(room.id, room);
    this.roomsChanged.emit();
    return room;
  }

  /** Tells the registry that this browser is here, and again before that runs out. */
  async #renew(room) {
    clearTimeout(this.#renewals.get(room.id));
    this.#present(room, await api.join(room.id, this.identity));
    if (room.isPrivate && room.log.next > 0) this.#session?.send(frames.renew({ group: room.id, ticket: room.ticket }));
  }

  #present(room, { ticket, lease_ms: lease }) {
    room.ticket = ticket;
    clearTimeout(this.#renewals.get(room.id));
    this.#renewals.set(room.id, setTimeout(() => this.#stayPresent(room), lease / 2));
  }

  /** Asks with the room's ticket, and once more with a new one where that one has run out. */
  async withTicket(room, ask) {
    // A ticket is good together with the session's proof alone.
    const shown = async () => ({ ticket: room.ticket, session: room.isPrivate ? await this.#secret.promise : "" });
    try {
      return await ask(await shown());
    } catch (error) {
      if (!room.isPrivate || (error.status !== 401 && error.status !== 403)) throw error;
      await this.#renew(room);
      return ask(await shown());
    }
  }

  #stayPresent(room) {
    this.#renew(room)
      .then(() => room.isPrivate && room.log.next === 0 && this.#subscribe(room))
      .catch((error) => {
        if (isFinal(error)) return this.#ended(room, error.message);
        this.#renewals.set(room.id, setTimeout(() => this.rooms.has(room.id) && this.#stayPresent(room), 5000));
      });
  }

  #subscribe(room) {
    if (!room.isPrivate || room.ticket) this.#session?.send(this.#subscription(room));
  }

  #subscription(room) {
    const { id, next } = room.log;
    const place = next > 0 ? { log: id, from: next } : {};
    return frames.subscribe({ group: room.id, ticket: room.ticket, ...place });
  }

  #begun(room, { log, next, head, historyLost }) {
    room.trouble = "";
    const isFirst = room.log.next === 0;
    const isOther = log !== room.log.id;
    if (isOther) room.replaceLog(log);
    room.log.begin(next, head);
    // What waits is signed for the log that it will stand in.
    if (isOther) for (const batch of room.outbox.batches()) this.#publish(room, batch);
    if (historyLost && !isFirst) this.historyLost.emit(room);
    // Who tells how far it is, is counted as a member from then on.
    this.#acks.delivered(room.id, log, room.log.head);
    if (isFirst) this.#firstPage(room);
    this.changed.emit(room);
  }

  /** The newest page of history, which says what is unread. */
  async #firstPage(room) {
    if (room.lastRead === null && room.log.next > 0) room.markRead();
    await this.loadOlder(room).catch((error) => this.notice.emit(room, error.message));
    this.loaded.emit(room);
  }

  async #page(room, limit) {
    const { log } = room;
    const wanted = { before: log.oldest, limit, log: log.id };
    const { first, runs } = await this.withTicket(room, (shown) => api.history(room.id, { ...wanted, ...shown }));
    if (room.log !== log) return false;
    const messages = [];
    for (const item of new Items().push(runs)) messages.push(...decodeRun(item.run).messages);
    const rows = log.prepend(messages, first);
    room.count(rows, this.isMine, this.mentionsMe);
    this.changed.emit(room);
    this.roomsChanged.emit();
    return rows.length > 0 || !log.complete;
  }

  /** Publishes what is in the outbox. Signing takes a moment, so each waits for those before: the order of what was said stays. */
  #publish(room, entries, retry = {}) {
    const send = () => this.#signAndSend(room, entries, retry);
    this.#publishing = this.#publishing.then(send).catch((error) => this.notice.emit(room, error.message));
  }

  /** What cannot be sent now is sent when the session opens, or when the hub tells the log. */
  async #signAndSend(room, waiting, retry) {
    const [{ id: log }, { clientId: client }] = [room.log, this.identity];
    if (!this.#session?.isOpen || !log) return;
    const sign = async ({ clientSeq, type, payload }) => {
      const place = { group: room.id, log, clientSeq, type };
      // A message without a signature is better than none.
      return { clientSeq, type, payload: await this.identity.signAsAuthor(place, payload).catch(() => payload) };
    };
    const entries = await Promise.all(waiting.map(sign));
    if (log !== room.log.id || client !== this.identity.clientId) return;
    const tag = this.#tag++;
    this.#sent.set(tag, { room, client, log, clientSeqs: entries.map((entry) => entry.clientSeq), retry });
    this.#session.send(frames.publish({ tag, group: room.id, log, entries, ticket: room.ticket }));
  }

  #published({ tag, acks }) {
    const sent = this.#sent.get(tag);
    this.#sent.delete(tag);
    for (const range of acks) sent?.room.outbox.acknowledged(range);
    if (sent) this.changed.emit(sent.room);
  }

  #failed({ tag, code, message }, room) {
    const sent = this.#sent.get(tag);
    this.#sent.delete(tag);
    if (sent && code === OTHER_PUBLISHER) {
      this.#goOnAsAnother(sent);
    } else if (sent && PASSING.has(code)) {
      setTimeout(() => this.#again(sent), RETRY_MS);
    } else if (sent && code === FAILED_PRECONDITION && (sent.retry.count ?? 0) < MOST_RETRIES) {
      const again = () => this.#again(sent, { ...sent.retry, count: (sent.retry.count ?? 0) + 1 });
      if (sent.log === sent.room.log.id) setTimeout(again, RETRY_MS);
      else again();
    } else if (sent?.room.isPrivate && DENIED.has(code) && !sent.retry.renewed) {
      this.#renew(sent.room).then(
        () => this.#again(sent, { ...sent.retry, renewed: true }),
        (error) => (isFinal(error) ? this.#refused(sent, message) : setTimeout(() => this.#again(sent), RETRY_MS)),
      );
    } else if (sent) {
      this.#refused(sent, message);
    } else if (room) {
      this.#notHeard(room, code, message);
    }
  }

  #refused(sent, message) {
    const refused = sent.room.outbox.refuse(sent.clientSeqs);
    this.notice.emit(sent.room, message);
    // Nothing that was typed is lost.
    const body = refused.map((entry) => entry.content.body ?? "").filter(Boolean).join("\n");
    if (body && !sent.room.draft) sent.room.keepDraft(body);
    this.changed.emit(sent.room);
  }

  /** A new session under a new client id sends again what is not acknowledged. */
  #goOnAsAnother({ client }) {
    if (client !== this.identity.clientId) return;
    this.identity.takeNewClient();
    this.#session.reopen();
    for (const room of this.rooms.values()) {
      api.leave(room.id, this.identity, client).catch(() => {});
      this.#stayPresent(room);
    }
  }

  /** A subscription failed. */
  #notHeard(room, code, message) {
    room.trouble = message;
    this.changed.emit(room);
    const again = () => this.rooms.has(room.id) && this.#subscribe(room);
    if (PASSING.has(code)) setTimeout(again, RETRY_MS);
    else if (DENIED.has(code) && room.isPrivate) {
      this.#renew(room).then(again, (error) =>
        isFinal(error) ? this.#ended(room, error.message) : setTimeout(again, RETRY_MS),
      );
    }
  }

  #again({ room, clientSeqs, retry: before }, retry = before) {
    const waiting = room.outbox.waiting.filter((entry) => clientSeqs.includes(entry.clientSeq));
    if (waiting.length) this.#publish(room, waiting, retry);
  }

  #ended(room, words) {
    room.trouble = words;
    this.notice.emit(room, words);
    this.changed.emit(room);
  }
}
