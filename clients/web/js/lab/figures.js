// Rates from the hub's snapshots: what happened between two of them.

/** Seconds that plots show. */
export const SECONDS = 120;

/** Snapshots that one figure of loss looks back: a group that says little sends few datagrams a second. */
const LOSS_SPAN = 5;

/** What a counter rose by; it begins anew with its service. */
const rise = (before, after) => Math.max(0, after - before);

const LANES = ["multicast", "tcp", "text"];

export class Figures {
  /** The newest snapshots, the last one last. */
  #past = [];
  /** One entry a snapshot, the newest last. */
  points = [];

  /** Takes a snapshot of `/api/lab`; `group`: a group's id, or empty for all of them. */
  take(snapshot, group) {
    const groups = snapshot.groups.filter((one) => !group || one.id === group);
    const point = { at: snapshot.unix_ms, ...this.#rates(snapshot, groups), lanes: byLane(groups) };
    this.#past = [...this.#past, snapshot].slice(-LOSS_SPAN);
    this.points.push(point);
    this.points = this.points.filter((one) => one.at > point.at - SECONDS * 1000);
    return point;
  }

  /** Another group is looked at. */
  forget() {
    this.#past = [];
    this.points = [];
  }

  #rates(snapshot, groups) {
    const rates = { messages: 0, multicastBytes: 0, hubBytes: 0, repairs: 0, loss: new Map() };
    const last = this.#past.at(-1);
    const seconds = last ? (snapshot.unix_ms - last.unix_ms) / 1000 : 0;
    if (!(seconds > 0)) return rates;
    rates.hubBytes = rise(last.hub.written_bytes, snapshot.hub.written_bytes) / seconds;
    for (const group of groups) {
      const before = last.groups.find((one) => one.id === group.id);
      if (!before) continue;
      rates.messages += rise(before.head, group.head) / seconds;
      rates.multicastBytes += rise(before.sent.data_bytes, group.sent.data_bytes) / seconds;
      rates.repairs += rise(before.sent.repairs + before.sent.parity, group.sent.repairs + group.sent.parity) / seconds;
      const earlier = this.#past[0].groups.find((one) => one.id === group.id) ?? before;
      const then = new Map(earlier.members.map((one) => [one.client, one]));
      for (const member of group.members) addLoss(rates.loss, then.get(member.client), member);
    }
    return rates;
  }
}

/** Percent of the datagrams sent meanwhile that did not reach the member; nothing where none were sent. */
function addLoss(losses, then, member) {
  if (!then || member.lane !== "multicast") return;
  const [lost, received] = [rise(then.lost, member.lost), rise(then.received, member.received)];
  if (lost + received > 0) losses.set(member.client, (100 * lost) / (lost + received));
}

function byLane(groups) {
  const counts = Object.fromEntries(LANES.map((lane) => [lane, new Set()]));
  for (const group of groups) {
    for (const member of group.members) if (member.here) counts[member.lane]?.add(member.client || member.device);
  }
  return Object.fromEntries(LANES.map((lane) => [lane, counts[lane].size]));
}
