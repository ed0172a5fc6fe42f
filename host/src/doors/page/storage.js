// The browser's two storages by name, and a memory of the page's own where the browser refuses them.
// It knows nothing of what is kept.

class Store {
  #open;
  #memory = new Map();

  constructor(open) {
    this.#open = open;
  }

  get(name) {
    if (this.#memory.has(name)) return this.#memory.get(name);
    try {
      return this.#open().getItem(name);
    } catch {
      return null;
    }
  }

  /** Whether it is kept beyond this page: a full or forbidden storage keeps nothing. */
  set(name, value) {
    try {
      this.#open().setItem(name, value);
      this.#memory.delete(name);
      return true;
    } catch {
      this.#memory.set(name, value);
      return false;
    }
  }

  remove(name) {
    this.#memory.delete(name);
    try {
      this.#open().removeItem(name);
    } catch {
      // What cannot be opened holds nothing to remove.
    }
  }

  names() {
    try {
      return [...new Set([...Object.keys(this.#open()), ...this.#memory.keys()])];
    } catch {
      return [...this.#memory.keys()];
    }
  }
}

/** Kept until somebody deletes it, for all tabs. */
export const local = new Store(() => localStorage);
/** Kept for this tab. */
export const session = new Store(() => sessionStorage);
