// Something happened: whoever listens is called in turn.

export class Signal {
  #listeners = [];

  on(listener) {
    this.#listeners.push(listener);
  }

  emit(...values) {
    for (const listener of this.#listeners) listener(...values);
  }
}
