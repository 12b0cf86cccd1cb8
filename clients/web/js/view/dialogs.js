// Questions to the person, each a dialog that Escape closes.

import * as api from "../chat/api.js";
import { MAX_NAME } from "../chat/identity.js";
import { el } from "./dom.js";
import { secureUrl } from "./exposure.js";
import { line } from "./harmless.js";
import { t } from "./words.js";
import { ADMIN, MEMBER, MODERATOR, OWNER } from "../wire/policy.js";

/** Shows a form and gives its values, or `null` if it was closed. `must`: it cannot be closed. */
function ask({ title, words, fields = [], button, must = false }) {
  return new Promise((resolve) => {
    const inputs = fields.map(({ name, label, ...props }) => [name, el("input", { name, "aria-label": label, placeholder: label, ...props })]);
    const rows = inputs.map(([, input]) =>
      input.type === "checkbox" ? el("label", {}, input, ` ${input.ariaLabel}`) : input,
    );
    const cancel = el("button", { type: "button", text: t("cancel"), on: { click: () => dialog.close() } });
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { text: title }),
      words ? el("p", { text: words }) : null,
      ...rows,
      el("p", { class: "buttons" }, must ? null : cancel, el("button", { class: "main", text: button })),
    );
    const dialog = open(form, () => resolve(null));
    form.addEventListener("submit", () => {
      resolve(Object.fromEntries(inputs.map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value.trim()])));
    });
    if (must) dialog.addEventListener("cancel", (event) => event.preventDefault());
  });
}

function open(content, closed) {
  const dialog = el("dialog", { "aria-label": content.querySelector("h2").textContent, on: { close: () => (closed?.(), dialog.remove()) } }, content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Words to look at or copy. */
function show({ title, words, text, picture }) {
  const copy = el("button", { type: "button", text: t("copy") });
  // Clipboards are for pages that came by https; selecting works everywhere.
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    await navigator.clipboard?.writeText(text).then(() => (copy.textContent = t("copied")), () => {});
  });
  const code = el("code", { class: "copy", text });
  const content = el(
    "form",
    { method: "dialog" },
    el("h2", { text: title }),
    el("p", { text: words }),
    picture ? el("img", { src: picture, alt: text, width: 240, height: 240, class: "qr" }) : null,
    code,
    el("p", { class: "buttons" }, copy, el("button", { class: "main", text: t("close") })),
  );
  open(content);
}

export async function askName(current) {
  const field = { name: "name", label: t("your_name"), value: current, required: true, maxlength: MAX_NAME, autofocus: true, autocomplete: "nickname", pattern: ".*\\S.*" };
  const given = await ask({ title: t("your_name"), words: t("name_why"), fields: [field], button: t("go_on"), must: !current });
  return given?.name ?? current;
}

export const askGroup = () =>
  ask({
    title: t("new_group"),
    fields: [
      { name: "name", label: t("group_name"), required: true, maxlength: 64, autofocus: true },
      { name: "isPrivate", label: t("group_private"), type: "checkbox" },
    ],
    button: t("create"),
  });

export const askInvite = () =>
  ask({ title: t("use_invite"), fields: [{ name: "code", label: t("invite_code"), required: true, maxlength: 64, autofocus: true }], button: t("join") });

export const sure = async (question, button) => Boolean(await ask({ title: question, button }));

/** How long a mute may last: its words, and ms. */
const MUTES = [["minutes_10", 600_000], ["hour_1", 3_600_000], ["day_1", 86_400_000]];

/**
 * Asks what to do about a member: gives `{ change, forMs }`, or `null` for nothing. `role`: this browser's; `rank`: the member's.
 */
export function askModeration({ name, device, role, rank, isMuted }) {
  return new Promise((resolve) => {
    const choice = (text, change, forMs = 0) => {
      const chosen = () => (resolve({ change: { ...change, device }, forMs }), dialog.close());
      return el("button", { type: "button", class: "choice", text, on: { click: chosen } });
    };
    const choices = [
      ...(isMuted ? [choice(t("unmute"), { kind: "unmute" })] : []),
      ...MUTES.map(([time, ms]) => choice(t("mute_for", { time: t(time) }), { kind: "mute" }, ms)),
      choice(t("kick"), { kind: "kick" }),
      choice(t("ban"), { kind: "ban" }),
      ...(role >= ADMIN && rank !== MODERATOR ? [choice(t("make_moderator"), { kind: "role", role: MODERATOR })] : []),
      ...(role === OWNER && rank !== ADMIN ? [choice(t("make_admin"), { kind: "role", role: ADMIN })] : []),
      ...(rank > MEMBER ? [choice(t("take_role"), { kind: "role", role: MEMBER })] : []),
    ];
    const close = el("p", { class: "buttons" }, el("button", { text: t("cancel") }));
    const content = el("form", { method: "dialog" }, el("h2", { text: name }), el("p", {}, el("code", { text: device })), ...choices, close);
    const dialog = open(content, () => resolve(null));
  });
}

export async function showShare() {
  const { urls } = await api.about();
  show({ title: t("share"), words: t("share_how"), text: urls[0], picture: api.qrCode(urls[0]) });
}

/** Says that something is only for pages that others cannot read. */
export function showHttps() {
  const content = el(
    "form",
    { method: "dialog" },
    el("h2", { text: t("need_https") }),
    el("p", { text: t("need_https_why") }),
    el("p", {}, el("a", { href: secureUrl(), text: secureUrl() })),
    el("p", {}, el("a", { href: "trust", text: t("exposed_trust") })),
    el("p", { class: "buttons" }, el("button", { class: "main", text: t("close") })),
  );
  open(content);
}

export async function showInvite(room, identity) {
  const { code } = await api.invite(room.id, identity);
  show({ title: t("make_invite"), words: t("invite_made", { group: line(room.name) }), text: code });
}
