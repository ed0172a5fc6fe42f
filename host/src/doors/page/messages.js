// The open conversation as it is seen: what was asked and what was answered, with the tools of an answer.
// It shows and reports clicks; what a click does is conversations.js's.

import { copy } from "./clipboard.js";
import { Prose } from "./prose.js";
import { problemText, text, translate } from "./texts.js";

/** Rendering takes at most this share of the time, however long a text has grown. */
const SHARE = 1 / 4;
/** How long a button says that it has copied. */
const THANKS_MS = 1600;

export class Messages {
  #list;
  #views = new Map();
  #onAgain;

  /** @param {HTMLOListElement} list  @param {(answer: object) => void} onAgain */
  constructor(list, onAgain) {
    this.#list = list;
    this.#onAgain = onAgain;
    list.addEventListener("click", (event) => this.#onClick(event));
  }

  /** Shows these and no others. */
  show(messages) {
    for (const view of this.#views.values()) view.forget();
    this.#views.clear();
    this.#list.replaceChildren();
    for (const message of messages) this.add(message);
  }

  add(message) {
    if (message.role === "person") {
      this.#list.append(personItem(message));
      return;
    }
    const view = new AnswerView(message);
    this.#views.set(message, view);
    this.#list.append(view.item);
  }

  /** Shows what has become of an answer; as text grows, once in a frame. */
  update(answer) {
    this.#views.get(answer)?.update();
  }

  /** An answer without its marks, as it is read aloud. */
  plainText(answer) {
    return this.#views.get(answer)?.item.querySelector(".prose").textContent.trim() ?? "";
  }

  async #onClick({ target }) {
    const button = target.closest("button");
    if (!button) return;
    const view = [...this.#views.values()].find(({ item }) => item.contains(button));
    if (button.classList.contains("again")) this.#onAgain(view.answer);
    if (button.classList.contains("copy-answer")) thank(button, await copy(view.answer.text));
    if (button.classList.contains("copy-code")) thank(button, await copy(codeOf(button)));
  }
}

function codeOf(button) {
  return button.closest("figure").querySelector("code").textContent.replace(/\n$/, "");
}

function thank(button, isCopied) {
  const words = button.querySelector("span");
  words.textContent = text(isCopied ? "copied" : "notCopied");
  button.classList.toggle("thanks", isCopied);
  setTimeout(() => {
    words.textContent = text("copy");
    button.classList.remove("thanks");
  }, THANKS_MS);
}

function clone(template) {
  const item = document.getElementById(template).content.firstElementChild.cloneNode(true);
  translate(item);
  return item;
}

function personItem(message) {
  const item = clone("person-template");
  item.querySelector(".text").textContent = message.text;
  return item;
}

class AnswerView {
  #prose;
  #timer = 0;
  #frame = 0;
  #restsUntil = 0;

  constructor(answer) {
    this.answer = answer;
    this.item = clone("answer-template");
    this.#prose = new Prose(this.item.querySelector(".prose"));
    if (answer.state !== "waiting") this.#prose.show(answer.text);
    else if (answer.text) this.#prose.grow(answer.text);
    this.#showState();
  }

  update() {
    if (this.answer.state !== "waiting") return this.#finish();
    this.#timer ||= setTimeout(() => this.#renderSoon(), Math.max(0, this.#restsUntil - performance.now()));
    this.#showState();
  }

  /** Takes back what was to be rendered. */
  forget() {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  #renderSoon() {
    this.#frame = requestAnimationFrame((now) => {
      this.#timer = 0;
      this.#prose.grow(this.answer.text);
      const took = performance.now() - now;
      this.#restsUntil = now + took / SHARE;
    });
  }

  #finish() {
    this.forget();
    this.#timer = 0;
    this.#prose.finish(this.answer.text);
    this.#showState();
  }

  #showState() {
    const { state, model } = this.answer;
    const find = (name) => this.item.querySelector(name);
    this.item.dataset.state = state;
    this.item.setAttribute("aria-busy", String(state === "waiting"));
    find(".again").hidden = !["failed", "stopped"].includes(state);
    find(".copy-answer").hidden = !this.answer.text;
    find(".model").textContent = model ?? "";
    const remark = remarkOn(this.answer);
    find(".remark").hidden = !remark;
    find(".remark").textContent = remark;
  }
}

function remarkOn({ state, problem, text: said }) {
  if (state === "failed") return problemText(problem);
  if (state === "stopped") return text("stopped");
  return state === "done" && !said ? text("silent") : "";
}
