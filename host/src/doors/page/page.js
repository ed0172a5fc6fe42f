// The chat page: asks POST /api/v1/chat and shows the answer while it comes. Plain text only: whatever a model
// writes is set as text, never as markup.
"use strict";

const TEXTS = {
  en: {
    fresh: "New conversation", welcome: "What would you like to talk about?",
    hint: "Answers come from the model that this host is set up with.",
    tokenLabel: "A token with the scope chat:write, from “parlor token”", enter: "Enter",
    placeholder: "Message", send: "Send", stop: "Stop", stopped: "Stopped.",
    keys: "Enter sends, Shift+Enter begins a new line",
    offline: "The host cannot be reached. Is it running?", broken: "The answer broke off; ask again.",
    refused: "This token is not valid, or no longer. Enter another one.",
  },
  zh: {
    fresh: "新对话", welcome: "想聊点什么？", hint: "回答来自本服务所配置的模型。",
    tokenLabel: "带有 chat:write 权限的令牌，由 “parlor token” 生成", enter: "进入",
    placeholder: "输入消息", send: "发送", stop: "停止", stopped: "已停止。",
    keys: "回车发送，Shift+回车换行",
    offline: "无法连接服务，它在运行吗？", broken: "回答中断了，请再问一次。",
    refused: "令牌无效或已过期，请重新输入。",
  },
};
const LANGUAGE = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const TEXT = TEXTS[LANGUAGE];
const element = (id) => document.getElementById(id);
const page = {
  talk: element("talk"), scroll: element("scroll"), welcome: element("welcome"), note: element("note"),
  ask: element("ask"), query: element("query"), send: element("send"), fresh: element("fresh"),
  door: element("door"), token: element("token"),
};

/** What a failed request says about itself. */
class Failure extends Error {}

let token = sessionStorage.getItem("token");
let session = sessionStorage.getItem("session") || newSession();
let underWay = null;

function newSession() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const id = "page-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("session", id);
  return id;
}

/** Asks the host for a token of the page's own; where it gives none, the person has to type one in. */
async function fetchToken() {
  const response = await fetch("/page/token", { cache: "no-store" }).catch(() => null);
  if (response?.ok) keepToken((await response.json()).token);
  if (response && !token) askForToken();
  return Boolean(token);
}

function keepToken(given) {
  token = given;
  sessionStorage.setItem("token", given);
  page.door.hidden = true;
}

function dropToken() {
  token = null;
  sessionStorage.removeItem("token");
}

function askForToken() {
  page.door.hidden = false;
  page.token.focus();
}

async function post(query, signal) {
  const request = () => fetch("/api/v1/chat", {
    method: "POST",
    headers: { "authorization": "Bearer " + token, "content-type": "application/json" },
    body: JSON.stringify({ query, session_id: session, stream: true }),
    signal,
  });
  let response = await request();
  if (response.status === 401) {
    dropToken();
    if (await fetchToken()) response = await request();
  }
  if (!response.ok) throw await failureOf(response);
  return response;
}

async function failureOf(response) {
  if (response.status === 401) return new Failure(TEXT.refused);
  const body = await response.json().catch(() => null);
  return new Failure(body?.error?.message || response.statusText);
}

/** The events of a server-sent stream, as {event, data}; comments are passed over. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = eventOf(block);
      if (event) yield event;
    }
  }
}

function eventOf(block) {
  const lines = block.split("\n");
  const valueOf = (name) => lines.filter((line) => line.startsWith(name + ":"))
    .map((line) => line.slice(name.length + 1).replace(/^ /, "")).join("\n");
  const data = valueOf("data");
  return data ? { event: valueOf("event"), data: JSON.parse(data) } : null;
}

/** Adds one utterance to the talk; returns how to fill it. */
function utter(kind, text) {
  const item = document.createElement("li");
  const body = document.createElement("div");
  item.className = kind;
  body.className = "text";
  body.textContent = text;
  item.append(body);
  page.talk.append(item);
  page.welcome.hidden = true;
  return { item, body };
}

function remark(item, text, isFailure) {
  const line = document.createElement("div");
  line.className = "remark";
  line.textContent = text;
  item.classList.toggle("failed", isFailure);
  item.append(line);
}

/** Follows the text, unless the person has scrolled up to read. */
function isAtEnd() {
  return page.scroll.scrollHeight - page.scroll.scrollTop - page.scroll.clientHeight < 80;
}

function scrollToEnd() {
  page.scroll.scrollTop = page.scroll.scrollHeight;
}

async function converse(query) {
  utter("person", query);
  const { item, body } = utter("bot waiting", "");
  scrollToEnd();
  setBusy(new AbortController());
  try {
    await show(await post(query, underWay.signal), body);
  } catch (error) {
    explain(error, item);
  } finally {
    item.classList.remove("waiting");
    setBusy(null);
  }
}

async function show(response, body) {
  for await (const { event, data } of eventsOf(response)) {
    const follow = isAtEnd();
    if (event === "delta") body.textContent += data.text;
    if (event === "done") body.textContent = data.reply;
    if (event === "error") throw new Failure(data.message);
    if (follow) scrollToEnd();
    if (event === "done") return;
  }
  throw new Failure(TEXT.broken);
}

function explain(error, item) {
  const follow = isAtEnd();
  const isStopped = error.name === "AbortError";
  const text = error instanceof Failure ? error.message : TEXT.offline;
  remark(item, isStopped ? TEXT.stopped : text, !isStopped);
  if (follow) scrollToEnd();
}

function setBusy(controller) {
  underWay = controller;
  document.body.classList.toggle("busy", Boolean(controller));
  page.send.setAttribute("aria-label", controller ? TEXT.stop : TEXT.send);
  page.talk.setAttribute("aria-busy", String(Boolean(controller)));
  refresh();
}

/** Fits the field to its text, and the button to whether there is any. */
function refresh() {
  page.query.style.height = "auto";
  page.query.style.height = page.query.scrollHeight + "px";
  page.send.disabled = !underWay && (!page.query.value.trim() || !token);
}

function submit(event) {
  event.preventDefault();
  if (underWay) return underWay.abort();
  const query = page.query.value.trim();
  if (!query || !token) return;
  page.query.value = "";
  refresh();
  page.query.focus();
  converse(query);
}

/** Enter sends, but not while an input method is composing a character. */
function onKey(event) {
  if (event.key === "Escape" && underWay) underWay.abort();
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  if (!underWay) page.ask.requestSubmit();
}

function begin() {
  underWay?.abort();
  session = newSession();
  page.talk.replaceChildren();
  page.welcome.hidden = false;
  page.query.focus();
}

function enter(event) {
  event.preventDefault();
  keepToken(page.token.value.trim());
  page.token.value = "";
  page.query.focus();
  refresh();
}

function translate() {
  document.documentElement.lang = LANGUAGE;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = TEXT[each.dataset.text];
  page.query.placeholder = TEXT.placeholder;
  page.query.setAttribute("aria-label", TEXT.placeholder);
  page.send.setAttribute("aria-label", TEXT.send);
  page.note.textContent = TEXT.keys;
  page.note.className = "keys";
}

translate();
page.ask.addEventListener("submit", submit);
page.query.addEventListener("input", refresh);
page.query.addEventListener("keydown", onKey);
page.fresh.addEventListener("click", begin);
page.door.addEventListener("submit", enter);
fetchToken().finally(refresh);
