// The network as a drawing: publishers' words go through the relay, by multicast to the left, through the hub to the right.

import { el, svg } from "../view/dom.js";
import { line } from "../view/harmless.js";
import { shortId } from "../view/nick.js";
import { t } from "../view/words.js";

const WIDTH = 960;
const ROW = 34;
const TOP = 30;
/** Smaller, names could not be read; larger, there is nothing more to see. */
const [LEAST_SCALE, MOST_SCALE] = [0.75, 1.4];
/** Members that are drawn in one column; the rest is a number. */
const MOST = 16;
const X = { multicast: 150, relay: 400, hub: 600, sessions: 810 };

/** Draws into `box`. `groups`: of a snapshot; `flows`: something was said since the one before. */
export function topology(box, groups, flows) {
  const members = present(groups);
  const left = members.filter((member) => member.lane === "multicast");
  const right = members.filter((member) => member.lane !== "multicast");
  const rows = Math.max(4, Math.min(MOST + 1, left.length), Math.min(MOST + 1, right.length));
  const height = TOP * 2 + rows * ROW;
  const middle = height / 2;
  // A side where nobody is takes no room.
  const start = left.length ? 0 : X.relay - 80;
  const width = (right.length ? WIDTH : X.hub + 80) - start;
  const drawing = svg("svg", { viewBox: `${start} 0 ${width} ${height}`, role: "img", "aria-label": summary(left, right) });
  drawing.append(edge("tcp", X.relay, middle, X.hub, middle, flows));
  drawing.append(...column(left, X.multicast, X.relay, height, flows), ...column(right, X.sessions, X.hub, height, flows));
  drawing.append(service(X.relay, middle, "relay"), service(X.hub, middle, "hub"));
  drawing.style.minWidth = `${LEAST_SCALE * width}px`;
  drawing.style.maxWidth = `${MOST_SCALE * width}px`;
  box.replaceChildren(members.length ? drawing : el("p", { class: "quiet", text: t("lab_nobody") }));
}

/** Each process once, whichever of the groups it is in. */
function present(groups) {
  const byClient = new Map();
  for (const group of groups) {
    for (const member of group.members) if (member.here) byClient.set(member.client || member.device, member);
  }
  return [...byClient.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function summary(left, right) {
  return `relay, hub; multicast: ${left.length}; TCP: ${right.length}`;
}

function column(members, x, to, height, flows) {
  const shown = members.slice(0, MOST);
  const more = members.length - shown.length;
  const rows = shown.length + (more ? 1 : 0);
  const y = (row) => height / 2 + (row - (rows - 1) / 2) * ROW;
  const edges = shown.map((member, row) => edge(member.lane ?? "tcp", to, height / 2, x, y(row), flows));
  const nodes = shown.map((member, row) => node(member, x, y(row)));
  if (more) nodes.push(svg("text", { x, y: y(rows - 1) + 4, "text-anchor": "middle", text: `+ ${more}` }));
  return [...edges, ...nodes];
}

function edge(lane, x1, y1, x2, y2, flows) {
  const bend = (x1 + x2) / 2;
  const d = `M${x1} ${y1} C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}`;
  return svg("path", { class: `edge lane-${lane} ${flows ? "flows" : ""}`, d });
}

function node({ name, client, lane }, x, y) {
  const words = line(name || shortId(client));
  const text = words.length > 20 ? `${words.slice(0, 19)}…` : words;
  return svg(
    "g",
    { class: `node lane-${lane}`, transform: `translate(${x} ${y})` },
    svg("rect", { x: -80, y: -13, width: 160, height: 26, rx: 13 }),
    svg("text", { "text-anchor": "middle", y: 4, text }),
    svg("title", { text: `${words}, ${lane}` }),
  );
}

function service(x, y, name) {
  return svg(
    "g",
    { class: "node service", transform: `translate(${x} ${y})` },
    svg("rect", { x: -48, y: -24, width: 96, height: 48, rx: 10 }),
    svg("text", { "text-anchor": "middle", y: 4, text: name }),
  );
}
