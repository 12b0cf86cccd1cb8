// The hub's JSON API. Every failure is an ApiError whose message says what to do.

import { random, toHex } from "../wire/bytes.js";
import { callBytes } from "../wire/signing.js";

export class ApiError extends Error {
  /** `reason`: why, where the page says it in its own words. */
  constructor(status, message, reason = "") {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/api${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the hub cannot be reached");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, body.error ?? `the hub answered ${answer.status}`, body.reason);
}

async function read(path, query = {}, options = {}) {
  const answer = await call(path + asQuery(query), options);
  return answer.json();
}

const jsonPost = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

async function post(path, body) {
  const answer = await call(path, jsonPost(body));
  return answer.status === 204 ? null : answer.json();
}

function asQuery(query) {
  const set = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined);
  return set.length ? `?${new URLSearchParams(set)}` : "";
}

export const about = () => read("/about");

/** What a call of several fields signs of them (WIRE.md, section 8). */
const lines = (...fields) => fields.join("\n");

/** What the page's groups are, as gaung.registry.v1.Scope and Format have it. */
const SITE_SCOPE = 1;
const PROTO_FORMAT = 1;

/** Signs a call of the registry, which gives a challenge for it. */
async function signed(identity, call) {
  const { nonce } = await post("/challenge", {});
  return { public_key: identity.publicKey, nonce, signature: await identity.sign(callBytes({ ...call, nonce })) };
}

/** Those of these groups that there are and that are not private. */
export const groupsById = (ids) => read("/groups", { ids: ids.join() });

/** A page of the groups that anybody may join, by name: `{ groups, next }`; `next` is what the next page begins after, if any. */
export async function groups({ search, after } = {}) {
  const answer = await call(`/groups${asQuery({ search, after })}`);
  return { groups: await answer.json(), next: decodeURIComponent(answer.headers.get("gaung-next") ?? "") };
}
export const lab = () => read("/lab");
export const qrCode = (text) => `/api/qr${asQuery({ text })}`;
/** What shows a ticket's device: the secret of the session, which has proven it. */
const proof = (session) => (session ? { headers: { "gaung-session": session } } : {});

export const members = (group, { ticket, session }) => read(`/groups/${group}/members`, { ticket }, proof(session));

/** A group's owner and its policy as it was signed, hexadecimal: `{ owner, policy }`. */
export const policy = (group, { ticket, session }) => read(`/groups/${group}/policy`, { ticket }, proof(session));
export const setPolicy = (policy) => post("/policies", { policy });

/** The registry's clock, ms since 1970. */
export const registryTime = async () => (await post("/challenge", {})).unix_ms;

/** `client`: the page that is present; empty for a membership that lasts, whether a page is open or not. */
export async function join(group, identity, client = identity.clientId) {
  const { name } = identity;
  const signature = await signed(identity, { method: "join", group, subject: lines("", name, client, "tcp") });
  return post(`/groups/${group}/join`, { client, member_name: name, signature });
}

/** Ends what `join` with this client began. */
export async function leave(group, identity, client = "") {
  const signature = await signed(identity, { method: "leave", group, subject: client });
  return post(`/groups/${group}/leave`, { client, signature });
}

/** Makes a code that is good for a day. */
export async function invite(group, identity) {
  const [uses, expires] = [0, 0];
  const signature = await signed(identity, { method: "invite", group, subject: lines(uses, expires) });
  return post(`/groups/${group}/invites`, { uses, expires_ms: expires, signature });
}

export async function redeem(code, identity) {
  const signature = await signed(identity, { method: "redeem", subject: code });
  return post("/invites/redeem", { code, signature, member_name: identity.name });
}

export async function create({ name, isPrivate }, identity) {
  const id = toHex(random(16));
  const subject = lines(id, name, SITE_SCOPE, PROTO_FORMAT, Number(isPrivate), "", "", identity.name, "0 0 0");
  const signature = await signed(identity, { method: "create", subject });
  return post("/groups", { request_id: id, name, private: isPrivate, member_name: identity.name, signature });
}

/** The newest `limit` messages before `before`: `{ first, runs }`, the runs' bytes one behind the other. */
export async function history(group, { before, limit, log, ticket, session }) {
  const answer = await call(`/groups/${group}/history${asQuery({ before, limit, log, ticket })}`, proof(session));
  const first = Number(answer.headers.get("gaung-first-seq") ?? 0);
  return { first, runs: new Uint8Array(await answer.arrayBuffer()) };
}

/** Calls `take` with each receipt as it changes, until all is heard, a minute is over, or `signal` aborts. */
export async function receipts(group, { first, last, log, ticket, session, signal }, take) {
  const answer = await call(`/groups/${group}/receipts${asQuery({ first, last, log, ticket })}`, { signal, ...proof(session) });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (waiting + value).split("\n");
    waiting = lines.pop();
    for (const line of lines) take(JSON.parse(line));
  }
}
