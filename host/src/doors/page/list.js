// The list of conversations by the day of their last use, and the drawer that it lies in on narrow screens.
// It shows and reports; what is kept is shelf.js's.

import { text } from "./texts.js";

const DAY_MS = 24 * 60 * 60 * 1000;

export class List {
  #frame;
  #on;

  /** @param {HTMLElement} frame  @param {{edit: (head: object) => void}} on */
  constructor(frame, on) {
    this.#frame = frame;
    this.#on = on;
  }

  show(heads, openId) {
    const focused = document.activeElement?.closest?.(".entry")?.dataset.id;
    const groups = [...grouped(heads)].map(([name, members]) => this.#group(name, members, openId));
    this.#frame.replaceChildren(...(groups.length > 0 ? groups : [empty()]));
    if (focused) this.#frame.querySelector(`[data-id="${focused}"] a`)?.focus();
  }

  #group(name, heads, openId) {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    const list = document.createElement("ul");
    title.textContent = text(name);
    list.append(...heads.map((head) => this.#entry(head, head.id === openId)));
    section.append(title, list);
    return section;
  }

  #entry(head, isOpen) {
    const item = document.getElementById("entry-template").content.firstElementChild.cloneNode(true);
    const link = item.querySelector("a");
    const more = item.querySelector("button");
    item.dataset.id = head.id;
    link.href = `#${head.id}`;
    link.textContent = link.title = head.title;
    if (isOpen) link.setAttribute("aria-current", "page");
    more.setAttribute("aria-label", text("edit", head.title));
    more.addEventListener("click", () => this.#on.edit(head));
    return item;
  }
}

function empty() {
  const words = document.createElement("p");
  words.className = "none";
  words.textContent = text("none");
  return words;
}

function grouped(heads) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const groups = new Map();
  for (const head of heads) {
    const name = dayName(head.used, midnight);
    groups.set(name, [...(groups.get(name) ?? []), head]);
  }
  return groups;
}

function dayName(used, midnight) {
  if (used >= midnight) return "today";
  if (used >= midnight - DAY_MS) return "yesterday";
  return used >= midnight - 7 * DAY_MS ? "week" : "earlier";
}

/** Lays the panel beside the talk, or into a drawer where there is no room; returns how to close that. */
export function offerDrawer({ panel, side, drawer, menu }) {
  const isNarrow = matchMedia("(max-width: 50rem)");
  const lay = () => {
    drawer.close();
    (isNarrow.matches ? drawer : side).append(panel);
  };
  menu.addEventListener("click", () => drawer.showModal());
  panel.querySelector(".leave").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", ({ target }) => target === drawer && drawer.close());
  isNarrow.addEventListener("change", lay);
  lay();
  return () => drawer.close();
}
