// Starts the chat: identity, name, page, session; tries again while the hub or the registry is away.

import { Chat, NoRegistry } from "./chat/chat.js";
import { Identity } from "./chat/identity.js";
import { byId } from "./view/dom.js";
import { askName } from "./view/dialogs.js";
import { warnIfExposed } from "./view/exposure.js";
import { draw } from "./view/icons.js";
import { Page } from "./view/page.js";
import { t, translate } from "./view/words.js";

const AGAIN_MS = 2000;

/** Does it until it succeeds, and says why it did not. */
async function insist(act) {
  const banner = byId("banner");
  for (;;) {
    try {
      const done = await act();
      banner.hidden = true;
      return done;
    } catch (error) {
      const why = error instanceof NoRegistry ? t("no_registry") : error.message;
      banner.textContent = t("start_failed", { why });
      banner.hidden = false;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

translate(document.body);
draw(document.body);
warnIfExposed();
const identity = await insist(() => Identity.load());
if (!identity.name) identity.rename(await askName(""));
const chat = new Chat(identity);
const page = new Page(chat);
await insist(() => chat.start());
page.rooms.draw();
