// The chat page: joins its parts. Each part knows one thing; only this file knows them all.

import { offerChoices } from "./choices.js";
import { Composer } from "./composer.js";
import { Conversations } from "./conversations.js";
import { askForName, askForToken, askWhetherSure } from "./dialogs.js";
import { Line } from "./line.js";
import { List, offerDrawer } from "./list.js";
import { Messages } from "./messages.js";
import { Notice } from "./notice.js";
import { Pass } from "./pass.js";
import { Post } from "./post.js";
import { Follower } from "./scroll.js";
import { CONVERSATIONS_MAX, heads, isShelfs } from "./shelf.js";
import { onLanguage, problemText, text, translate } from "./texts.js";
import { fitToKeyboard } from "./viewport.js";

/** The longest question that the host takes. */
const QUERY_BYTES_MAX = 32 * 1024;

const element = (id) => document.getElementById(id);
/** Where there is a real keyboard the field takes the focus by itself; elsewhere it would raise one. */
const hasKeyboard = matchMedia("(pointer: fine)");

const view = {
  show(conversation) {
    messages.show(conversation.messages);
    showPlace();
    follower.toEnd();
    if (hasKeyboard.matches) composer.focus();
  },
  add(message) {
    messages.add(message);
    follower.toEnd();
    showBusy();
  },
  update(answer) {
    messages.update(answer);
    showBusy();
  },
  listed: () => showPlace(),
  spoken: (answer) => announce(`${text("finished")} ${messages.plainText(answer)}`),
  unkept: () => notice.show("notKept"),
};

const conversations = new Conversations(view);
const notice = new Notice(element("notice"));
const messages = new Messages(element("talk"), (answer) => conversations.again(answer));
const follower = new Follower(element("scroll"), element("content"), element("jump"));
const composer = new Composer(element("ask"), { send, stop });
const list = new List(element("talks"), { edit });
const pass = new Pass(enter);
const ears = { event: hear, state: showState, useless: standIn };

conversations.line = new Line(pass, ears);
const closeDrawer = offerDrawer({
  panel: element("panel"), side: element("side"), drawer: element("drawer"), menu: element("menu"),
});

function send(query) {
  if (new TextEncoder().encode(query).length > QUERY_BYTES_MAX) {
    notice.show("tooLong");
    return false;
  }
  notice.hide("tooLong");
  conversations.ask(query);
  history.replaceState(null, "", `#${conversations.open.id}`);
  announce(text("writing"));
  return true;
}

function stop() {
  conversations.stop();
  announce(text("stopped"));
}

function hear(frame) {
  if (frame.type === "error" && !frame.id) notice.say(problemText({ ...frame, retryAfter: frame.retry_after }));
  else conversations.hear(frame);
}

function showState(state) {
  if (state === "away") notice.show("away", "tryNow", () => conversations.line.wake());
  else notice.hide("away");
}

/** Where no WebSocket passes, plain requests do; what was asked and not heard goes by them. */
function standIn() {
  const line = conversations.line;
  conversations.line = new Post(pass, ears);
  notice.hide("away");
  for (const question of line.close()) conversations.line.ask(question);
}

async function enter(reason) {
  const dialog = element("door");
  if (dialog.open) return;
  const given = await askForToken(dialog, reason);
  if (!given) return notice.show("needsToken", "enterToken", () => enter("missing"));
  notice.hide("needsToken");
  pass.take(given.token, given.isRemembered);
  conversations.line.wake();
  composer.focus();
}

async function edit({ id, title }) {
  const chosen = await askForName(element("edit"), title);
  if (chosen?.name) conversations.rename(id, chosen.name);
  if (!chosen?.isRemoved) return;
  conversations.remove(id);
  if (location.hash === `#${id}`) leaveHash();
}

async function clear() {
  if (!await askWhetherSure(element("sure"))) return;
  conversations.removeAll();
  leaveHash();
}

function begin() {
  conversations.begin();
  leaveHash();
  closeDrawer();
  composer.focus();
}

function leaveHash() {
  history.pushState(null, "", location.pathname);
}

function goToHash() {
  const id = location.hash.slice(1);
  if (id.startsWith("page-")) conversations.show(id);
  else conversations.begin();
  closeDrawer();
}

function showPlace() {
  const { id, title, messages: said } = conversations.open;
  element("title").textContent = title || text("untitled");
  document.title = title ? `${title} · ${text("page")}` : text("page");
  element("welcome").hidden = said.length > 0;
  element("clear").hidden = heads().length === 0;
  list.show(heads(), id);
  showBusy();
}

function showBusy() {
  composer.setBusy(Boolean(conversations.underWay));
}

function announce(words) {
  element("announcer").textContent = words;
}

function onKey(event) {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (conversations.underWay) stop();
}

function speak() {
  translate(document);
  element("kept").textContent = text("kept", CONVERSATIONS_MAX);
  messages.show(conversations.open.messages);
  showPlace();
  document.documentElement.dataset.ready = "";
}

for (const fresh of document.querySelectorAll(".fresh")) fresh.addEventListener("click", begin);
for (const example of document.querySelectorAll(".example")) {
  example.addEventListener("click", () => !conversations.underWay && send(example.textContent));
}
element("clear").addEventListener("click", clear);
element("skip").addEventListener("click", (event) => {
  event.preventDefault();
  composer.focus();
});
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", goToHash);
window.addEventListener("pagehide", () => conversations.keep());
window.addEventListener("storage", ({ key }) => isShelfs(key) && conversations.changedElsewhere());
offerChoices(element("look"), element("language"));
onLanguage(speak);
fitToKeyboard();
speak();
goToHash();
conversations.resume();
conversations.line.wake();
