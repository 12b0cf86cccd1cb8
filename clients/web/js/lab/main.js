// The network, live: asks the hub once a second and draws what it says.

import * as api from "../chat/api.js";
import { byId, el } from "../view/dom.js";
import { line } from "../view/harmless.js";
import { shortId } from "../view/nick.js";
import { t, translate } from "../view/words.js";
import { Figures } from "./figures.js";
import { plot, short } from "./plot.js";
import { topology } from "./topology.js";

const EVERY_MS = 1000;
/** Members whose loss is a curve, those that lose most. */
const CURVES = 6;

/** Members in the table. */
const MOST_ROWS = 300;
const figures = new Figures();
const select = byId("group");

translate(document.body);
document.title = `${t("title")} · ${t("lab_title")}`;
select.append(el("option", { value: "", text: t("lab_all") }));
select.addEventListener("change", () => {
  figures.forget();
  look();
});

let timer = 0;

async function look() {
  clearTimeout(timer);
  const banner = byId("banner");
  try {
    draw(await api.lab());
    banner.hidden = true;
  } catch (error) {
    banner.textContent = t("lab_away", { why: error.message });
    banner.hidden = false;
  }
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS);
}

function draw(snapshot) {
  options(snapshot.groups);
  const point = figures.take(snapshot, select.value);
  const groups = snapshot.groups.filter((group) => !select.value || group.id === select.value);
  const names = new Map(groups.flatMap((group) => group.members.map((member) => [member.client, nameOf(member)])));
  topology(byId("topology"), groups, point.messages > 0);
  plots(point.at, names);
  table(groups);
  totals(snapshot, groups);
}

function options(groups) {
  const known = new Set(Array.from(select.options, (option) => option.value));
  for (const { id, name } of groups) if (!known.has(id)) select.append(el("option", { value: id, text: line(name) }));
}

function plots(now, names) {
  const { points } = figures;
  const values = (of) => points.map((point) => [point.at, of(point)]);
  const one = (name, colour, of) => ({ name, colour, values: values(of) });
  plot(byId("messages"), [one(t("lab_messages"), 5, (point) => point.messages)], { now, least: 5 });
  const bytes = [
    one(t("lab_bytes_multicast"), 0, (point) => point.multicastBytes),
    one(t("lab_bytes_tcp"), 1, (point) => point.hubBytes),
  ];
  plot(byId("bytes"), bytes, { now, least: 1000 });
  const lanes = ["multicast", "tcp", "text"].map((lane, colour) => one(lane, colour, (point) => point.lanes[lane]));
  plot(byId("lanes"), lanes, { now, least: 5 });
  plot(byId("loss"), losses(points, names), { now, least: 5 });
}

function losses(points, names) {
  const worst = [...names.keys()].filter((client) => points.some((point) => point.loss.has(client)));
  const sum = (client) => points.reduce((total, point) => total + (point.loss.get(client) ?? 0), 0);
  worst.sort((a, b) => sum(b) - sum(a));
  const curves = worst.slice(0, CURVES).map((client, index) => ({
    name: names.get(client),
    colour: (index + 4) % 6,
    values: points.filter((point) => point.loss.has(client)).map((point) => [point.at, point.loss.get(client)]),
  }));
  return [...curves, { name: t("lab_repairs"), colour: 3, values: points.map((point) => [point.at, point.repairs]) }];
}

function table(groups) {
  const head = ["lab_name", "lab_lane", "lab_lost", "lab_repaired", "lab_round_trip", "lab_behind"];
  const here = groups.flatMap((group) => group.members.filter((member) => member.here).map((member) => [group, member]));
  const rows = here.slice(0, MOST_ROWS).map(([group, member]) => row(group, member));
  if (here.length > MOST_ROWS) rows.push(el("tr", {}, el("td", { text: t("more_members", { count: here.length - MOST_ROWS }) })));
  byId("members").replaceChildren(
    el("thead", {}, el("tr", {}, ...head.map((key) => el("th", { scope: "col", text: t(key) })))),
    el("tbody", {}, ...rows),
  );
}

/** A name fit to be shown. */
const nameOf = ({ name, client }) => line(name || shortId(client));

function row(group, { name, client, lane, lost, received, repaired, round_trip_us: roundTrip, delivered }) {
  const sent = lost + received;
  const heard = lane === "text" ? "–" : String(Math.max(0, group.head - delivered));
  const badge = el("span", { class: `lane lane-${line(lane ?? "")}`, text: line(lane ?? "?") });
  const cells = [
    sent ? `${((100 * lost) / sent).toFixed(1)} %` : "–",
    sent ? short(repaired) : "–",
    roundTrip ? `${(roundTrip / 1000).toFixed(1)} ms` : "–",
    heard,
  ];
  const where = select.value ? "" : ` · ${line(group.name)}`;
  return el("tr", {}, el("td", { text: nameOf({ name, client }) + where }), el("td", {}, badge), ...cells.map((text) => el("td", { text })));
}

function totals(snapshot, groups) {
  const sum = (of) => groups.reduce((total, group) => total + of(group), 0);
  const told = [
    `${t("lab_sent_multicast")}: ${short(sum((group) => group.sent.data))} datagrams, ${short(sum((group) => group.sent.data_bytes))}B`,
    `${t("lab_repair_sent")}: ${short(sum((group) => group.sent.repairs + group.sent.parity))}`,
    `${t("lab_written")}: ${short(snapshot.hub.written_bytes)}B`,
    `${t("lab_broadcasts")}: ${short(snapshot.hub.broadcast_datagrams)}`,
  ];
  const more = snapshot.groups_left_out ? ` ${t("lab_left_out", { count: snapshot.groups_left_out })}` : "";
  byId("totals").textContent = `${told.join(" · ")} (${t("lab_total")}).${more}`;
}

look();
