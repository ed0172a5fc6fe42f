// The field and its button, which sends, or stops the answer under way.
// It knows keys and sizes, not what becomes of a question.

import { session } from "./storage.js";
import { onLanguage, text } from "./texts.js";

const DRAFT = "parlor.draft";

export class Composer {
  #form;
  #field;
  #button;
  #on;
  #isBusy = false;

  /** @param {HTMLFormElement} form  @param {{send: (query: string) => boolean, stop: () => void}} on */
  constructor(form, on) {
    this.#form = form;
    this.#field = form.querySelector("textarea");
    this.#button = form.querySelector("button");
    this.#on = on;
    this.#field.value = session.get(DRAFT) ?? "";
    form.addEventListener("submit", (event) => this.#submit(event));
    this.#field.addEventListener("input", () => this.#refresh());
    this.#field.addEventListener("keydown", (event) => this.#onKey(event));
    onLanguage(() => this.#refresh());
    this.#refresh();
  }

  focus() {
    this.#field.focus();
  }

  setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.#refresh();
  }

  /** Fits the field to its text, and the button to what it does. */
  #refresh() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#form.classList.toggle("busy", this.#isBusy);
    this.#button.setAttribute("aria-label", text(this.#isBusy ? "stop" : "send"));
    this.#button.title = text(this.#isBusy ? "stop" : "send");
    this.#button.setAttribute("aria-disabled", String(!this.#isBusy && !this.#field.value.trim()));
    session.set(DRAFT, this.#field.value);
  }

  #submit(event) {
    event.preventDefault();
    if (this.#isBusy) return this.#on.stop();
    const query = this.#field.value.trim();
    if (!query || !this.#on.send(query)) return;
    this.#field.value = "";
    this.#refresh();
    this.#field.focus();
  }

  /** Enter sends, but not while an input method is composing a character: then it chooses one. */
  #onKey(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (!this.#isBusy) this.#form.requestSubmit();
  }
}
