// What a device signs: calls to the registry, and a hub's challenge (WIRE.md, section 8).

import { concat, fromHex, fromUuid, utf8 } from "./bytes.js";

const NO_GROUP = "0".repeat(32);

/** A call. `group`: empty for calls whose signature names none; `nonce`: of the registry, hexadecimal. */
export const callBytes = ({ method, group = "", nonce, subject = "" }) =>
  concat([utf8(`gaung-v1\0${method}\0`), fromUuid(group || NO_GROUP), fromHex(nonce), utf8(subject)]);

/** The proof of a session's device. `challenge`: the bytes of the hub's welcome. */
export const helloBytes = ({ challenge, clientId }) => concat([utf8("gaung-hello-v1\0"), challenge, fromHex(clientId)]);
