// What this browser remembers, in localStorage. A browser that keeps nothing still works until the page is closed.

const PREFIX = "gaung.";
const passing = new Map();

export function load(key, otherwise = null) {
  try {
    const kept = localStorage.getItem(PREFIX + key);
    return kept === null ? otherwise : JSON.parse(kept);
  } catch {
    return passing.get(key) ?? otherwise;
  }
}

export function save(key, value) {
  passing.set(key, value);
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full or forbidden: kept until the page is closed.
  }
}
