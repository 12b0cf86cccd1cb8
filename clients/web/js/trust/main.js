// How a person comes to trust the site: its code to compare, its root to install.

import * as api from "../chat/api.js";
import { byId } from "../view/dom.js";
import { secureUrl } from "../view/exposure.js";
import { t, translate } from "../view/words.js";

translate(document.body);
document.title = `${t("title")} · ${t("trust_title")}`;
const { site } = await api.about();
byId("none").hidden = Boolean(site);
byId("steps").hidden = !site;
byId("unsure").hidden = isSecureContext;
if (site) {
  byId("code").textContent = site.code;
  byId("fingerprint").textContent = site.fingerprint;
  byId("secure").href = secureUrl();
  byId("secure").textContent = secureUrl();
}
