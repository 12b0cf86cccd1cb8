// What people have to know of a page that came without encryption from another machine: others read it.

import { about } from "../chat/api.js";
import { loadTab, saveTab } from "../chat/store.js";
import { byId, el } from "./dom.js";
import { t } from "./words.js";

/** Set in this tab once the person has read the warning. */
const READ = "exposed.read";

/** The same page by HTTPS, which has the same port. */
export const secureUrl = (path = "/") => `https://${location.host}${path}`;

/** Shows the warning, unless it was read in this tab. Browsers know from where a page came, and call the others insecure. */
export async function warnIfExposed() {
  if (isSecureContext || loadTab(READ)) return;
  const box = byId("exposed");
  const links = el("p", { class: "links" });
  const hide = () => {
    saveTab(READ, true);
    box.hidden = true;
  };
  const read = el("button", { type: "button", text: t("exposed_read"), on: { click: hide } });
  box.replaceChildren(el("p", {}, el("strong", { text: t("exposed") }), ` ${t("exposed_why")}`), links, read);
  box.hidden = false;
  const { site } = await about().catch(() => ({}));
  if (!site) return;
  links.append(
    el("a", { href: secureUrl(), text: secureUrl() }),
    el("a", { href: "trust", text: t("exposed_trust") }),
  );
}
