// The conversations: which is open, what is asked in it, and what becomes of each answer, also of those that
// come while another conversation is open. It knows neither the page nor the wire: `view` shows, `line` asks.
//
// A conversation is {id, title, used, messages}; a message {role: "person", text} or
// {role: "answer", id, text, state, askedAt, problem?, model?}, its state one of waiting, done, stopped, failed.

import * as shelf from "./shelf.js";

const TITLE_CHARS = 48;
/** An answer that was under way when the page was closed is fetched within this; later it is lost. */
const RESUME_MS = 60 * 60 * 1000;

export class Conversations {
  line = null;
  #view;
  #open = begun();
  /** By the question's id: where an answer goes. */
  #waiting = new Map();

  /** @param view {show(conversation), add(message), update(answer), listed(), spoken(answer), unkept()} */
  constructor(view) {
    this.#view = view;
  }

  get open() {
    return this.#open;
  }

  /** The answer under way in the open conversation. */
  get underWay() {
    return this.#open.messages.find(({ state }) => state === "waiting");
  }

  begin() {
    this.#show(begun());
  }

  /** Shows one that is kept; a new one where it is not. */
  show(id) {
    if (id !== this.#open.id) this.#show(this.#find(id) ?? begun());
  }

  ask(query) {
    const message = { role: "person", text: query };
    this.#open.title ||= titleOf(query);
    this.#open.messages.push(message);
    this.#view.add(message);
    const answer = { role: "answer", text: "" };
    this.#open.messages.push(answer);
    this.#await(this.#open, answer, query);
    this.#view.add(answer);
    this.#changed(this.#open);
  }

  /** Asks anew what failed or was stopped. */
  again(answer) {
    if (this.underWay) return;
    const { messages } = this.#open;
    this.#await(this.#open, answer, messages[messages.indexOf(answer) - 1].text);
    this.#view.update(answer);
    this.#changed(this.#open);
  }

  stop() {
    const answer = this.underWay;
    if (!answer) return;
    answer.state = "stopped";
    this.#waiting.delete(answer.id);
    this.line.stop(answer.id);
    this.#view.update(answer);
    this.#changed(this.#open);
  }

  rename(id, title) {
    const conversation = this.#find(id);
    if (!conversation || !title) return;
    conversation.title = title;
    this.#changed(conversation, false);
  }

  remove(id) {
    this.#drop((conversation) => conversation.id === id);
    shelf.remove(id);
    if (id === this.#open.id) this.begin();
    this.#view.listed();
  }

  removeAll() {
    this.#drop(() => true);
    shelf.removeAll();
    this.begin();
    this.#view.listed();
  }

  /** Takes a frame of the line. */
  hear(frame) {
    const place = this.#waiting.get(frame.id);
    if (!place) return;
    const { answer, conversation } = place;
    if (!apply(frame, answer)) return;
    if (conversation === this.#open) this.#view.update(answer);
    if (answer.state === "waiting") return;
    this.#waiting.delete(frame.id);
    this.#changed(conversation);
    if (conversation === this.#open) this.#view.spoken(answer);
  }

  /** After the page was opened: fetches the answers that it left when it was closed. */
  resume() {
    for (const { id } of shelf.heads().filter(({ isWaiting }) => isWaiting)) {
      const conversation = this.#find(id);
      if (conversation) this.#rejoinAll(conversation);
    }
  }

  /** Before the page goes: keeps the texts so far. */
  keep() {
    for (const { conversation } of this.#waiting.values()) shelf.save(conversation);
  }

  /** Another tab has changed what is kept. */
  changedElsewhere() {
    this.#view.listed();
    const isOwn = [...this.#waiting.values()].some(({ conversation }) => conversation === this.#open);
    const kept = isOwn ? null : shelf.load(this.#open.id);
    if (kept && JSON.stringify(kept.messages) !== JSON.stringify(this.#open.messages)) this.#show(kept);
  }

  #show(conversation) {
    this.#open = conversation;
    this.#view.show(conversation);
    this.#rejoinAll(conversation);
  }

  /** The one object that answers under way write into, else what is kept. */
  #find(id) {
    if (id === this.#open.id) return this.#open;
    const underWay = [...this.#waiting.values()].find(({ conversation }) => conversation.id === id);
    return underWay?.conversation ?? shelf.load(id);
  }

  #await(conversation, answer, query) {
    Object.assign(answer, { id: newId("q"), text: "", state: "waiting", askedAt: Date.now() });
    delete answer.problem;
    this.#waiting.set(answer.id, { conversation, answer });
    this.line.ask({ id: answer.id, query, session_id: conversation.id });
  }

  /** Hears answers under way that nobody here listens to: of the page before, or of another tab. */
  #rejoinAll(conversation) {
    conversation.messages.forEach((message, index) => {
      if (message.state !== "waiting" || this.#waiting.has(message.id)) return;
      this.#rejoin(conversation, message, conversation.messages[index - 1]?.text);
    });
  }

  #rejoin(conversation, answer, query) {
    this.#waiting.set(answer.id, { conversation, answer });
    if (query && Date.now() - answer.askedAt < RESUME_MS) {
      this.line.ask({ id: answer.id, query, session_id: conversation.id }, true);
    } else {
      this.hear({ type: "error", id: answer.id, code: "lost" });
    }
  }

  #drop(isOne) {
    for (const [id, { conversation }] of this.#waiting) {
      if (!isOne(conversation)) continue;
      this.#waiting.delete(id);
      this.line.stop(id);
    }
  }

  #changed(conversation, isUse = true) {
    if (isUse) conversation.used = Date.now();
    if (!shelf.save(conversation)) this.#view.unkept();
    this.#view.listed();
  }
}

function begun() {
  return { id: newId("page"), title: "", used: 0, messages: [] };
}

/** `crypto.randomUUID` is for pages over HTTPS alone. */
function newId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `${prefix}-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function titleOf(query) {
  const chars = Array.from(query.split("\n")[0].trim());
  return chars.length > TITLE_CHARS ? `${chars.slice(0, TITLE_CHARS - 1).join("")}…` : chars.join("");
}

/** Whether the frame changed the answer. */
function apply(frame, answer) {
  switch (frame.type) {
    case "delta":
      answer.text += frame.text;
      return true;
    case "snapshot":
      answer.text = frame.text;
      return true;
    case "done":
      Object.assign(answer, { state: "done", text: frame.reply, model: frame.model });
      return true;
    case "stopped":
      answer.state = "stopped";
      return true;
    case "error":
      answer.state = "failed";
      answer.problem = { code: frame.code, message: frame.message, retryAfter: frame.retry_after };
      return true;
    default:
      return false;
  }
}
