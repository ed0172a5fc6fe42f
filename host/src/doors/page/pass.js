// The token: the page's own where the host gives it one, else what the person types in.
// It knows where a token comes from and whether it opens the chat, not what is said with it.

import { local, session } from "./storage.js";

const NAME = "parlor.token";
/** The page's own token is renewed this long before it ends. */
const MARGIN_MS = 60_000;
/** A host that has not answered by then is away. */
const ANSWER_MS = 10_000;

/** The host could not be asked. */
export class Away extends Error {}

export class Pass {
  #typed = session.get(NAME) ?? local.get(NAME);
  #own = null;
  #ownUntil = 0;
  #onNeeded;

  /** @param {(reason: "missing" | "refused" | "unscoped") => void} onNeeded  the person has to type one in */
  constructor(onNeeded) {
    this.#onNeeded = onNeeded;
  }

  /** Takes what the person typed; it outlives the tab only if he wants so. */
  take(token, isRemembered) {
    this.#typed = token;
    (isRemembered ? local : session).set(NAME, token);
  }

  /** A token, or null where the person is asked for one. Throws `Away`. */
  async token() {
    if (this.#typed) return this.#typed;
    if (this.#own && Date.now() < this.#ownUntil) return this.#own;
    const response = await reach("/page/token", { cache: "no-store" });
    if (response.ok) return this.#keepOwn(await response.json());
    this.#onNeeded("missing");
    return null;
  }

  #keepOwn({ token, expires_in: seconds }) {
    this.#own = token;
    this.#ownUntil = Date.now() + seconds * 1000 - MARGIN_MS;
    return token;
  }

  /**
   * Whether a token opens the chat. It asks for nothing, which the host refuses as a bad request once the
   * token has passed. A token that does not open is dropped, and the person asked for another one.
   * Throws `Away`.
   */
  async opens(token) {
    const headers = { "authorization": `Bearer ${token}`, "content-type": "application/json" };
    const { status } = await reach("/api/v1/chat", { method: "POST", headers, body: "{}" });
    if (status !== 401 && status !== 403) return true;
    this.refuse(token, status === 403 ? "unscoped" : "refused");
    return false;
  }

  /** Drops a token that the host does not take. */
  refuse(token, reason) {
    if (token === this.#own) this.#own = null;
    if (token !== this.#typed) return;
    this.#typed = null;
    session.remove(NAME);
    local.remove(NAME);
    this.#onNeeded(reason);
  }
}

async function reach(path, options) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), ...options }).catch(() => null);
  if (!response || response.status >= 500) throw new Away(path);
  return response;
}
