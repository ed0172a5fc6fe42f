// The line to the host: a WebSocket that is opened again whenever it drops, and asks then for every answer that
// is still missing. The host knows a question by its id, so that asking again joins the same turn.
// It knows frames and ids, not conversations.
//
// Out: {"type":"ask","id","query","session_id"}, {"type":"stop","id"}, {"type":"ping"}.
// In: accepted, snapshot, delta, done, stopped, error (each with "id"), pong.

import { Away } from "./pass.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
/** A ping as often keeps proxies from closing a quiet line; two without an answer, and it is dead. */
const BEAT_MS = 20_000;
/** How long a line may take to answer when the page comes back from sleep. */
const WAKE_MS = 4_000;
/** How long a line may take to open: some networks swallow what they do not pass on. */
const OPENING_MS = 10_000;
/** A page out of sight lets a line without questions go after this. */
const HIDDEN_MS = 60_000;
/** Lines that never opened, with a host that answers otherwise: something between does not pass them on. */
const USELESS_TRIES = 2;
/** Said before the host closes a line whose token has ended; a new token is got then. */
const EXPIRED = "token_expired";
const LAST_WORDS = new Set(["done", "stopped", "error"]);

export class Line {
  #pass;
  #on;
  #socket = null;
  #token = null;
  #questions = new Map();
  #stops = new Set();
  #attempt = 0;
  #tries = 0;
  #hasOpened = false;
  #isConnecting = false;
  #isClosed = false;
  #heardAt = 0;
  #timers = { again: 0, beat: 0, wake: 0, opening: 0, hidden: 0 };

  /**
   * @param {Pass} pass
   * @param {{event: (frame: object) => void, state: (state: "open" | "away") => void, useless: () => void}} on
   *   `useless`: no line will ever open here.
   */
  constructor(pass, on) {
    this.#pass = pass;
    this.#on = on;
    this.#timers.beat = setInterval(() => this.#beat(), BEAT_MS);
    window.addEventListener("online", this.#wake);
    document.addEventListener("visibilitychange", this.#onVisibility);
  }

  /** @param {{id: string, query: string, session_id: string}} question */
  ask(question) {
    this.#questions.set(question.id, question);
    if (this.isOpen) this.#send({ type: "ask", ...question });
    else this.wake();
  }

  stop(id) {
    this.#questions.delete(id);
    // Until the host has answered it: a line may be dead before anybody knows.
    this.#stops.add(id);
    if (this.isOpen) this.#send({ type: "stop", id });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Opens the line now, or makes sure that it still lives. */
  wake() {
    clearTimeout(this.#timers.again);
    if (!this.isOpen) this.#connect();
    else this.#prove();
  }

  /** For good; the questions that are still open. */
  close() {
    this.#isClosed = true;
    clearInterval(this.#timers.beat);
    clearTimeout(this.#timers.again);
    window.removeEventListener("online", this.#wake);
    document.removeEventListener("visibilitychange", this.#onVisibility);
    this.#forget();
    return [...this.#questions.values()];
  }

  #wake = () => this.wake();

  #onVisibility = () => {
    clearTimeout(this.#timers.hidden);
    if (!document.hidden) this.wake();
    else this.#timers.hidden = setTimeout(() => this.#questions.size === 0 && this.#forget(), HIDDEN_MS);
  };

  async #connect() {
    if (this.#socket || this.#isConnecting || this.#isClosed) return;
    this.#isConnecting = true;
    try {
      this.#token = await this.#pass.token();
      if (this.#token && !this.#isClosed) this.#open(this.#token);
    } catch (error) {
      this.#later(error);
    } finally {
      this.#isConnecting = false;
    }
  }

  #open(token) {
    const url = new URL("/chat", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    url.searchParams.set("token", token);
    const socket = new WebSocket(url);
    let hasOpened = false;
    socket.onopen = () => {
      hasOpened = true;
      this.#begin();
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code }) => this.#dropped(hasOpened, code);
    this.#socket = socket;
    this.#timers.opening = setTimeout(() => this.#dropped(false, 0), OPENING_MS);
  }

  #begin() {
    clearTimeout(this.#timers.opening);
    this.#hasOpened = true;
    this.#heardAt = Date.now();
    this.#on.state("open");
    this.#send({ type: "ping" });
    for (const id of this.#stops) this.#send({ type: "stop", id });
    for (const question of this.#questions.values()) this.#send({ type: "ask", ...question });
  }

  #send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #hear(frame) {
    this.#heardAt = Date.now();
    this.#attempt = 0;
    clearTimeout(this.#timers.wake);
    if (frame.type === "pong" || frame.code === EXPIRED) return;
    if (LAST_WORDS.has(frame.type)) this.#settle(frame.id);
    this.#on.event(frame);
  }

  #settle(id) {
    this.#questions.delete(id);
    this.#stops.delete(id);
  }

  /** Lets the socket go without waiting for its last words: a dead one has none. */
  #forget() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timers.wake);
    clearTimeout(this.#timers.opening);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  async #dropped(hasOpened, code) {
    this.#forget();
    // A line that was refused looks like one that cannot be reached; only a request tells which.
    const isRefusal = !hasOpened || code === 1008 || code >= 3000;
    if (!isRefusal) return this.#later();
    try {
      const isFine = await this.#pass.opens(this.#token);
      if (isFine && !hasOpened) this.#tries += 1;
      if (this.#tries >= USELESS_TRIES && !this.#hasOpened) return this.#on.useless();
      this.#later(null, isFine);
    } catch (error) {
      this.#later(error);
    }
  }

  /** Tries again after a pause that doubles, with jitter, so that not all pages come back at once. */
  #later(error, isReachable = false) {
    if (error && !(error instanceof Away)) throw error;
    if (this.#isClosed) return;
    if (error || (this.#attempt > 0 && !isReachable)) this.#on.state("away");
    if (document.hidden && this.#questions.size === 0) return;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    clearTimeout(this.#timers.again);
    this.#timers.again = setTimeout(() => this.#connect(), pause * (0.5 + Math.random() / 2));
  }

  #beat() {
    if (!this.isOpen) return;
    if (Date.now() - this.#heardAt > 2 * BEAT_MS + WAKE_MS) this.#reopen();
    else this.#send({ type: "ping" });
  }

  #prove() {
    this.#send({ type: "ping" });
    clearTimeout(this.#timers.wake);
    this.#timers.wake = setTimeout(() => this.#reopen(), WAKE_MS);
  }

  #reopen() {
    this.#forget();
    this.#connect();
  }
}
