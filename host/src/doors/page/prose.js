// An answer's text as it grows: blocks that are done are rendered once and stay, only the last one is rendered
// again. It knows Markdown's blocks and code's copy buttons, not where the text comes from.

import { hasReferences, render, settledLength } from "./markdown.js";
import { translate } from "./texts.js";

export class Prose {
  #element;
  #settled = "";
  #tail = [];

  constructor(element) {
    this.#element = element;
  }

  /** Shows the text so far. */
  grow(text) {
    if (!text.startsWith(this.#settled)) this.#reset();
    const done = settledLength(text.slice(this.#settled.length));
    this.#dropTail();
    if (done > 0) this.#settle(text.slice(this.#settled.length, this.#settled.length + done));
    const last = dressed(text.slice(this.#settled.length));
    this.#tail = [...last.childNodes];
    this.#element.append(last);
  }

  /** Shows the text that it has come to. */
  finish(text) {
    if (hasReferences(text)) this.show(text);
    else this.grow(text);
  }

  /** Shows a whole text. */
  show(text) {
    this.#reset();
    this.#settle(text);
  }

  #settle(text) {
    this.#element.append(dressed(text));
    this.#settled += text;
  }

  #dropTail() {
    for (const node of this.#tail) node.remove();
    this.#tail = [];
  }

  #reset() {
    this.#element.replaceChildren();
    this.#settled = "";
    this.#tail = [];
  }
}

/** A fragment with a head for each block of code and a frame for each table that may be too wide. */
function dressed(source) {
  const fragment = render(source);
  for (const block of fragment.querySelectorAll("pre")) wrapCode(block);
  for (const table of fragment.querySelectorAll("table")) wrapTable(table);
  return fragment;
}

function wrapCode(block) {
  const figure = document.getElementById("code-template").content.firstElementChild.cloneNode(true);
  translate(figure);
  const named = /(?:^|\s)language-(\S+)/.exec(block.querySelector("code")?.className ?? "");
  figure.querySelector(".tongue").textContent = named?.[1] ?? "";
  block.tabIndex = 0;
  block.replaceWith(figure);
  figure.append(block);
}

function wrapTable(table) {
  const frame = document.createElement("div");
  frame.className = "wide";
  frame.tabIndex = 0;
  table.replaceWith(frame);
  frame.append(table);
}
