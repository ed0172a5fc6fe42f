// The one line above the field that says what stands in the way, with at most one thing to do about it.

import { onLanguage, text } from "./texts.js";

export class Notice {
  #frame;
  #words;
  #button;
  #key = null;
  #buttonKey = null;

  constructor(frame) {
    this.#frame = frame;
    this.#words = frame.querySelector("span");
    this.#button = frame.querySelector("button");
    onLanguage(() => this.#key && this.show(this.#key, this.#buttonKey, this.#button.onclick));
  }

  /** Says a sentence of the table until it is hidden or another one comes. */
  show(key, buttonKey = null, action = null) {
    this.say(text(key));
    this.#key = key;
    this.#buttonKey = buttonKey;
    this.#button.hidden = !buttonKey;
    this.#button.textContent = buttonKey ? text(buttonKey) : "";
    this.#button.onclick = action;
  }

  /** Says words that are not in the table. */
  say(words) {
    this.#key = null;
    this.#frame.hidden = false;
    this.#button.hidden = true;
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  /** Takes this sentence away, if it is the one that stands there. */
  hide(key) {
    if (this.#key !== key) return;
    this.#key = null;
    this.#frame.hidden = true;
    this.#words.textContent = "";
  }
}
