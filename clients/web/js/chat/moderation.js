// What people with a role decide about devices of a group.

import { fromHex, toHex } from "../wire/bytes.js";
import * as policy from "../wire/policy.js";
import * as api from "./api.js";

/** How often a change is made anew because another one came first. */
const ATTEMPTS = 4;
const CONFLICT = 409;

/** Reads what is decided in a room: `{ owner, policy, role }`, `role` being this browser's. */
export async function standing(chat, room) {
  const { owner, policy: signed } = await chat.withTicket(room, (shown) => api.policy(room.id, shown));
  const decided = signed ? policy.decodeSigned(fromHex(signed)) : policy.unset(room.id);
  return { owner, policy: decided, role: policy.roleOf(decided, owner, chat.identity.device) };
}

/** Makes a change, as `withChange` takes it; `forMs`: of a mute. The registry refuses what this browser's role does not allow. */
export async function moderate(chat, room, change, forMs = 0) {
  const until = change.kind === "mute" ? (await api.registryTime()) + forMs : 0;
  for (let attempt = 1; ; attempt += 1) {
    const current = await standing(chat, room);
    const encoded = policy.encode(policy.withChange(current.policy, { ...change, until }));
    const signature = await chat.identity.sign(policy.policyBytes(encoded));
    try {
      return await api.setPolicy(toHex(policy.signedPolicy(encoded, chat.identity.publicKey, signature)));
    } catch (error) {
      if (error.status !== CONFLICT || attempt === ATTEMPTS) throw error;
    }
  }
}
