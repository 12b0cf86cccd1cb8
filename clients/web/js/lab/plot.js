// A plot that moves: the last two minutes, drawn anew with each snapshot.

import { el, svg } from "../view/dom.js";
import { t } from "../view/words.js";
import { SECONDS } from "./figures.js";

const [WIDTH, HEIGHT] = [480, 170];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 6, 8, 20];

/** A number with its unit's thousand, such as 1.2 k. */
export function short(value) {
  for (const [limit, unit] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (value >= limit) return (value / limit).toFixed(value >= 10 * limit ? 0 : 1) + unit;
  }
  return value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/** The next 1, 2, 3 or 5 times a power of ten: where an axis ends. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 10].map((step) => step * power).find((step) => step >= value);
}

/**
 * Draws into `box`. `series`: `{ name, colour, values }`, values as [ms, number] rising in time, colour from 0 to 5;
 * `least`: where the axis ends at least.
 */
export function plot(box, series, { now, least = 1, unit = "" }) {
  const most = ceiling(Math.max(least, ...series.flatMap(({ values }) => values.map(([, value]) => value))));
  const x = (at) => WIDTH - RIGHT - ((now - at) / (SECONDS * 1000)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const label = series.map(({ name, values }) => `${name}: ${short(values.at(-1)?.[1] ?? 0)}${unit}`).join(", ");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...axes(most, y));
  for (const { colour, values } of series) {
    const points = values.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    drawing.append(svg("polyline", { class: `curve series-${colour}`, points }));
  }
  box.replaceChildren(drawing, legend(series, unit));
}

function axes(most, y) {
  const lines = [0, most / 2, most].flatMap((value) => [
    svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg("text", { class: "quiet", x: LEFT - 5, y: y(value) + 4, "text-anchor": "end", text: short(value) }),
  ]);
  const ago = svg("text", { class: "quiet", x: LEFT, y: HEIGHT - 4, text: t("lab_seconds_ago", { count: SECONDS }) });
  const now = svg("text", { class: "quiet", x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end", text: t("lab_now") });
  return [...lines, ago, now];
}

function legend(series, unit) {
  const entries = series.map(({ name, colour, values }) =>
    el("span", { class: `series-${colour}` }, `● ${name} `, el("b", { text: `${short(values.at(-1)?.[1] ?? 0)}${unit}` })),
  );
  return el("p", { class: "legend" }, ...entries);
}
