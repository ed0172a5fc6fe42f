// What a case is given: the browser, the two hosts, the model's strings; and a visit, one person at the page.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const GLANCE_MS = 20;
const PATIENCE_MS = 30_000;

/** Looks until there is something to see. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, GLANCE_MS));
  }
}

class Model {
  #address;
  #askedBefore = 0;

  /** What it was asked before, by another run, does not count. */
  static async at(address) {
    const model = new Model();
    model.#address = address;
    model.#askedBefore = (await model.seen()).asked.length;
    return model;
  }

  /** Waits in the midst of answers to questions with this text. */
  hold = (text) => this.#order({ hold: text });
  release = (text) => this.#order({ release: text });
  script = (text, answer) => this.#order({ script: [text, answer] });
  /** Refuses questions with this text once. */
  refuse = (text) => this.#order({ refuse: text });

  async seen() {
    return (await fetch(`${this.#address}/seen`)).json();
  }

  async timesAsked(text) {
    return (await this.seen()).asked.slice(this.#askedBefore).filter((asked) => asked.includes(text)).length;
  }

  async #order(order) {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${this.#address}/order`, { method: "POST", headers, body: JSON.stringify(order) });
    assert.equal(response.status, 200);
  }
}

export class World {
  #visits = [];

  /** @param told what page.rs says */
  static async open(told) {
    const world = new World();
    const { chromium } = await world.#load(told.modules, "playwright-core/index.mjs");
    world.axe = (await world.#load(told.modules, "axe-core/axe.min.js")).default.source;
    world.open = told.open;
    world.closed = told.closed;
    world.token = told.token;
    world.model = await Model.at(told.model);
    world.profile = fs.mkdtempSync(path.join(os.tmpdir(), "parlor-page-"));
    const env = { ...process.env, HOME: world.profile, ...fonts(world.profile) };
    world.browser = await chromium.launch({ executablePath: told.chromium, args: ARGS, env });
    return world;
  }

  #load(modules, name) {
    return import(pathToFileURL(path.join(modules, name)));
  }

  /** Somebody opens the page in a browser of his own. */
  async visit({ at = this.open, fragment = "", isReady = true, ...wishes } = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US", ...wishes });
    context.setDefaultTimeout(PATIENCE_MS);
    const visit = new Visit(context, at);
    this.#visits.push(visit);
    await visit.tab(fragment, isReady);
    return visit;
  }

  /** Ends the visits of a case; nothing may have gone wrong unseen. */
  async closeVisits() {
    for (const visit of this.#visits) {
      visit.assertCalm();
      await visit.context.close();
    }
    this.#visits = [];
  }

  async leaveVisits() {
    await Promise.allSettled(this.#visits.map(({ context }) => context.close()));
    this.#visits = [];
  }

  async close() {
    await this.browser.close();
    fs.rmSync(this.profile, { recursive: true, force: true });
  }
}

/** For the pictures: a typeface that people like, where it is installed (fonts-inter, fonts-noto-cjk). */
function fonts(folder) {
  if (!process.env.PARLOR_TEST_PAGE_SHOTS) return {};
  const prefer = (name) => `<match target="pattern"><test name="family"><string>${name}</string></test>
    <edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>`;
  const file = path.join(folder, "fonts.conf");
  fs.writeFileSync(file, `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
    <include ignore_missing="yes">/etc/fonts/fonts.conf</include>${["system-ui", "sans", "sans-serif"].map(prefer).join("")}
    <selectfont><rejectfont><pattern><patelt name="family"><string>DejaVu Sans</string></patelt></pattern></rejectfont></selectfont>
    </fontconfig>`);
  return { FONTCONFIG_FILE: file };
}

/** One browser at the page; `page` is its tab. */
export class Visit {
  requests = [];
  #troubles = [];
  #tolerated = [];
  #at;

  constructor(context, at) {
    this.context = context;
    this.#at = at;
  }

  /** Opens the page in one more tab. */
  async tab(fragment = "", isReady = true) {
    const page = await this.context.newPage();
    this.page = page;
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
        console.error(`policy: ${violatedDirective} ${blockedURI} ${sample}`);
      });
    });
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("websocket", (socket) => this.requests.push(socket.url()));
    page.on("pageerror", (error) => this.#troubles.push(`uncaught: ${error.stack}`));
    page.on("dialog", (dialog) => this.#troubles.push(`a dialog: ${dialog.message()}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.#troubles.push(`console: ${message.text()}`);
    });
    await page.goto(`${this.#at}/${fragment}`);
    if (isReady) await this.ready();
    return page;
  }

  ready() {
    return this.page.locator("html[data-ready]").waitFor({ state: "attached" });
  }

  /** Expects lines of the console with this text. */
  tolerate(text) {
    this.#tolerated.push(text);
  }

  assertCalm() {
    const troubles = this.#troubles.filter((trouble) => !this.#tolerated.some((text) => trouble.includes(text)));
    assert.deepEqual(troubles, []);
    const host = new URL(this.#at).host;
    assert.deepEqual(this.requests.filter((url) => new URL(url).host !== host), [], "asked elsewhere");
  }

  async ask(query) {
    await this.page.fill("#query", query);
    await this.page.keyboard.press("Enter");
  }

  get answer() {
    return this.page.locator(".answer").last();
  }

  get prose() {
    return this.answer.locator(".prose");
  }

  /** The last answer as text. */
  async said() {
    return (await this.prose.textContent()).trim();
  }

  state() {
    return this.answer.getAttribute("data-state");
  }

  /** Waits until the last answer is in this state. */
  async reaches(state) {
    await this.page.locator(`.answer:last-child[data-state="${state}"]`).waitFor();
  }

  /** Asks and waits for the answer. */
  async converse(query) {
    const questions = this.page.locator(".person");
    const before = await questions.count();
    await this.ask(query);
    // Until it stands there, the last answer is that to another.
    await until("the question stands there", async () => (await questions.count()) > before);
    await this.reaches("done");
  }

  /** Waits until the last answer's text has this in it. */
  async says(text) {
    await this.prose.filter({ hasText: text }).waitFor();
  }

  /** Opens a conversation of the list, and waits until it stands there instead of the one before. */
  async open(title) {
    const entry = "#talks .entry a";
    await this.page.locator(entry, { hasText: title }).click();
    await this.page.locator(`${entry}[aria-current]`, { hasText: title }).waitFor();
  }

  /** The titles of the list, from the top. */
  titles() {
    return this.page.locator("#talks .entry a").allTextContents();
  }

  focused(property = "id") {
    return this.page.evaluate((name) => document.activeElement?.[name], property);
  }

  /** Presses Tab until an element with this selector has the focus. */
  async tabTo(selector, key = "Tab") {
    for (let pressed = 0; pressed < 60; pressed += 1) {
      if (await this.page.evaluate((selector) => document.activeElement?.matches(selector), selector)) return;
      await this.page.keyboard.press(key);
    }
    throw new Error(`no way to ${selector} by ${key}`);
  }
}
