// What this browser remembers, in localStorage, and what this tab does, in sessionStorage. All tabs share the first: each thing has
// its own key, so that no tab writes over what another one knows, and a change is heard by the others. A browser that keeps
// nothing still works until the page is closed.

const PREFIX = "gaung.";
const passing = new Map();

export function load(key, otherwise = null) {
  return read("localStorage", key) ?? passing.get(key) ?? otherwise;
}

export function save(key, value) {
  passing.set(key, value);
  write("localStorage", key, value);
}

export function forget(key) {
  passing.delete(key);
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // Nothing was kept.
  }
}

/** What is kept under keys that begin so: `[rest of the key, value]`. */
export function loadAll(start) {
  const keys = new Set([...passing.keys()].filter((key) => key.startsWith(start)));
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX + start)) keys.add(key.slice(PREFIX.length));
  } catch {
    // Forbidden.
  }
  return [...keys].map((key) => [key.slice(start.length), load(key)]);
}

/** Of this tab alone; a reload keeps it. */
export const loadTab = (key, otherwise = null) => read("sessionStorage", key) ?? otherwise;
export const saveTab = (key, value) => write("sessionStorage", key, value);

/** Calls `take(rest of the key, value)` when another tab changed a key that begins so; `value` is null if it forgot it. */
export function watch(start, take) {
  addEventListener("storage", ({ key, newValue }) => {
    if (!key?.startsWith(PREFIX + start)) return;
    const ours = key.slice(PREFIX.length);
    const value = parse(newValue);
    if (value === null) passing.delete(ours);
    else passing.set(ours, value);
    take(ours.slice(start.length), value);
  });
}

function read(storage, key) {
  try {
    return parse(window[storage].getItem(PREFIX + key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    window[storage].setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full or forbidden: kept until the page is closed.
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
