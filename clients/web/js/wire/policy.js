// Who may do what in a group: gaung.registry.v1.Policy, of which each version is signed and names the one before (WIRE.md, section 8).

import { concat, fromHex, fromUuid, toHex, toUuid, utf8 } from "./bytes.js";
import { Writer, fields } from "./protobuf.js";
import { sha256 } from "./sha2.js";

/** Roles by rank. */
export const MEMBER = 0;
export const MODERATOR = 1;
export const ADMIN = 2;
export const OWNER = 3;

/** Kicks that a policy keeps. */
const MOST_KICKS = 256;

/** What holds before anybody has decided anything. `group`: a UUID. */
export const unset = (group) => ({ group, version: 0, previous: "", admins: [], moderators: [], bans: [], mutes: {}, kicks: {} });

/** The policy within an encoded SignedPolicy, whose signature is not verified. Devices are hexadecimal digits. */
export function decodeSigned(bytes) {
  const policy = unset("");
  const lists = { 4: "admins", 5: "moderators", 6: "bans" };
  const maps = { 7: "mutes", 8: "kicks" };
  for (const [field, value] of fields(Object.fromEntries(fields(bytes))[1] ?? new Uint8Array(0))) {
    if (field === 1) policy.group = toUuid(value);
    else if (field === 2) policy.version = value;
    else if (field === 3) policy.previous = toHex(value);
    else if (lists[field]) policy[lists[field]].push(toHex(value));
    else if (maps[field]) {
      const entry = Object.fromEntries(fields(value));
      policy[maps[field]][toHex(entry[1])] = entry[2] ?? 0;
    }
  }
  return policy;
}

/** Encodes a policy in the one way that is allowed: fields in order, devices rising. */
export function encode({ group, version, previous, admins, moderators, bans, mutes, kicks }) {
  const body = new Writer().bytes(1, fromUuid(group)).number(2, version).bytes(3, fromHex(previous));
  for (const [field, devices] of [[4, admins], [5, moderators], [6, bans]]) {
    for (const device of [...devices].sort()) body.bytes(field, fromHex(device));
  }
  for (const [field, entries] of [[7, mutes], [8, kicks]]) {
    for (const device of Object.keys(entries).sort()) {
      body.message(field, new Writer().bytes(1, fromHex(device)).number(2, entries[device]));
    }
  }
  return body.finish();
}

/** What a device with a role signs. */
export const policyBytes = (encoded) => concat([utf8("gaung-policy-v1\0"), encoded]);

/** The encoded SignedPolicy. */
export const signedPolicy = (encoded, publicKey, signature) =>
  new Writer().bytes(1, encoded).bytes(2, fromHex(publicKey)).bytes(3, fromHex(signature)).finish();

export function roleOf({ admins, moderators }, owner, device) {
  if (!device) return MEMBER;
  if (device === owner) return OWNER;
  if (admins.includes(device)) return ADMIN;
  return moderators.includes(device) ? MODERATOR : MEMBER;
}

/**
 * The next version, with one change: `{ kind, device }`, kind `role` with a `role`, `kick`, `ban`, `unban`, `mute` with `until` in ms since
 * 1970 by the registry's clock, `unmute`.
 */
export function withChange(policy, { kind, device, role = MEMBER, until = 0 }) {
  const next = structuredClone(policy);
  next.version += 1;
  next.previous = policy.version > 0 ? toHex(sha256(encode(policy))) : "";
  const without = (devices) => devices.filter((other) => other !== device);
  if (kind === "role" || kind === "ban") {
    [next.admins, next.moderators] = [without(next.admins), without(next.moderators)];
    if (kind === "role" && role === ADMIN) next.admins.push(device);
    if (kind === "role" && role === MODERATOR) next.moderators.push(device);
  }
  if (kind === "ban") next.bans = [...without(next.bans), device];
  if (kind === "unban") next.bans = without(next.bans);
  if (kind === "mute") next.mutes[device] = until;
  if (kind === "unmute" || kind === "ban") delete next.mutes[device];
  if (kind === "kick") {
    next.kicks[device] = next.version;
    const oldest = Object.keys(next.kicks).sort().reduce((a, b) => (next.kicks[b] < next.kicks[a] ? b : a));
    if (Object.keys(next.kicks).length > MOST_KICKS) delete next.kicks[oldest];
  }
  return next;
}
