// Every sentence of the page, in each of its languages, and which language is shown.
// It knows words alone; whoever shows some calls `text`, and `translate` for what stands in the HTML.

import { local } from "./storage.js";

const TEXTS = {
  en: {
    page: "Parlor", skip: "Skip to the message field",
    conversations: "Conversations", menu: "Conversations", close: "Close", fresh: "New chat",
    untitled: "New chat", edit: (title) => `Rename or delete “${title}”`,
    today: "Today", yesterday: "Yesterday", week: "The last seven days", earlier: "Earlier",
    none: "Your conversations will stand here.",
    kept: (most) => `Kept in this browser only, the latest ${most}.`, clear: "Delete all",
    look: (name) => `Colours: ${name}`, auto: "Auto", light: "Light", dark: "Dark",
    language: "中文", languageLabel: "切换到中文",
    welcome: "What would you like to talk about?",
    welcomeHint: "Ask in your own words. Answers can be wrong: check what matters.",
    examples: "Examples",
    example1: "Explain what a webhook is, with an example",
    example2: "Compare tea and coffee in a small table",
    example3: "Write a polite note to move a meeting to Friday",
    placeholder: "Message", send: "Send", stop: "Stop the answer (Esc)",
    keys: "Enter sends · Shift + Enter breaks the line · Esc stops",
    you: "You:", answer: "Answer:", writing: "The answer is being written.", finished: "The answer is complete.",
    copy: "Copy", copied: "Copied", copyAnswer: "Copy the answer", copyCode: "Copy the code",
    notCopied: "Cannot copy here: select the text instead.",
    again: "Ask again", stopped: "Stopped.", silent: "There is no answer to this.",
    jump: "Jump to the latest", picture: "Picture, not loaded:",
    editTitle: "Conversation", name: "Name", save: "Save", cancel: "Cancel", remove: "Delete",
    removeHint: "Deleting takes it away from this browser. What the server has stored is not touched by that.",
    clearTitle: "Delete all conversations?",
    clearHint: "They disappear from this browser for good. What the server has stored is not touched by that.",
    doorTitle: "A token, please", token: "Token", remember: "Remember it in this browser", enter: "Enter",
    doorHint: "This page is for people with a token. Whoever runs it makes one by the command “parlor token”.",
    doorRefused: "The host refused this token: it is wrong or has expired. Enter another one.",
    doorUnscoped: "This token does not open the chat: it lacks the scope chat:write. Enter another one.",
    needsToken: "A token is needed to chat here.", enterToken: "Enter a token",
    away: "No connection to the host. Trying again…", tryNow: "Try now",
    notKept: "This browser has no room left: what is said now is not kept here.",
    tooLong: "This message is too long. Shorten it, or send it in parts.",
    soon: (seconds) => ` Try again in ${seconds} s.`,
    problems: {
      away: "The host cannot be reached. Is it running?",
      answer_broken: "The answer broke off.",
      lost: "The answer was lost when the page was closed.",
      query_too_long: "This message is too long for the host. Send it in parts.",
      busy: "The host has too much to do at the moment.",
      draining: "The host is restarting. Ask again in a moment.",
      not_stored: "The host could not store the question, so it was not asked.",
      closed: "The chat is closed on this host.",
      unauthorized: "The host did not accept the token.",
      too_many: "Too many answers are under way at once. Wait for one to end.",
      internal: "Something broke on the host. Its log knows more.",
      unknown: "That did not work.",
    },
  },
  zh: {
    page: "Parlor", skip: "跳到输入框",
    conversations: "对话", menu: "对话列表", close: "关闭", fresh: "新对话",
    untitled: "新对话", edit: (title) => `重命名或删除“${title}”`,
    today: "今天", yesterday: "昨天", week: "最近七天", earlier: "更早",
    none: "你的对话会出现在这里。",
    kept: (most) => `仅保存在本浏览器中，最多 ${most} 个。`, clear: "全部删除",
    look: (name) => `配色：${name}`, auto: "自动", light: "浅色", dark: "深色",
    language: "English", languageLabel: "Switch to English",
    welcome: "想聊点什么？",
    welcomeHint: "用自己的话提问就好。回答可能有误，重要内容请核实。",
    examples: "示例",
    example1: "举例解释什么是 Webhook",
    example2: "用一个小表格比较茶和咖啡",
    example3: "写一段客气的话，把会议改到周五",
    placeholder: "输入消息", send: "发送", stop: "停止回答（Esc）",
    keys: "Enter 发送 · Shift + Enter 换行 · Esc 停止",
    you: "你：", answer: "回答：", writing: "正在回答。", finished: "回答完毕。",
    copy: "复制", copied: "已复制", copyAnswer: "复制回答", copyCode: "复制代码",
    notCopied: "此处无法复制，请手动选择文字。",
    again: "重新提问", stopped: "已停止。", silent: "没有对应的回答。",
    jump: "回到最新", picture: "图片（未加载）：",
    editTitle: "对话", name: "名称", save: "保存", cancel: "取消", remove: "删除",
    removeHint: "删除只会让它从本浏览器中消失，服务端已存的记录不受影响。",
    clearTitle: "删除全部对话？",
    clearHint: "它们会从本浏览器中永久消失，服务端已存的记录不受影响。",
    doorTitle: "请输入令牌", token: "令牌", remember: "在本浏览器中记住", enter: "进入",
    doorHint: "持有令牌的人才能使用本页。令牌由服务的管理者用 “parlor token” 命令生成。",
    doorRefused: "服务端拒绝了这个令牌：它有误或已过期，请换一个。",
    doorUnscoped: "这个令牌没有 chat:write 权限，不能聊天，请换一个。",
    needsToken: "在这里聊天需要令牌。", enterToken: "输入令牌",
    away: "与服务端的连接已断开，正在重试……", tryNow: "立即重试",
    notKept: "本浏览器的存储空间已满，之后的内容不会保存在这里。",
    tooLong: "消息太长了，请缩短或分几次发送。",
    soon: (seconds) => `请在 ${seconds} 秒后重试。`,
    problems: {
      away: "无法连接服务端，它在运行吗？",
      answer_broken: "回答中断了。",
      lost: "页面关闭时，这个回答丢失了。",
      query_too_long: "消息超过了服务端的长度限制，请分几次发送。",
      busy: "服务端现在太忙了。",
      draining: "服务端正在重启，请稍后再问。",
      not_stored: "服务端没能存下这个问题，因此没有提问。",
      closed: "该服务没有开放聊天。",
      unauthorized: "服务端没有接受令牌。",
      too_many: "同时进行的回答太多了，请等其中一个结束。",
      internal: "服务端出错了，详情见其日志。",
      unknown: "没有成功。",
    },
  },
};
const TAGS = { en: "en", zh: "zh-CN" };

let language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const listeners = [];

/** A sentence in the language shown; some take an argument. */
export function text(key, ...given) {
  const found = TEXTS[language][key];
  return typeof found === "function" ? found(...given) : found;
}

/** What went wrong, in plain words: by its code, else in the words that came with it. */
export function problemText({ code, message, retryAfter }) {
  const { problems } = TEXTS[language];
  const said = problems[code] ?? (message ? sentence(message) : problems.unknown);
  return retryAfter ? said + text("soon", retryAfter) : said;
}

/** The host's messages begin in lower case and have no full stop. */
function sentence(message) {
  const begun = message[0].toUpperCase() + message.slice(1);
  return /[.!?。！？…]$/u.test(begun) ? begun : begun + ".";
}

/** Sets the words of everything below `root` that names them: as text, label, or placeholder. */
export function translate(root) {
  for (const each of root.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
  for (const each of root.querySelectorAll("[data-title]")) each.title = text(each.dataset.title);
  for (const each of root.querySelectorAll("[data-hint]")) each.placeholder = text(each.dataset.hint);
}

export function languageTag() {
  return TAGS[language];
}

/** The other language, from now on and the next time. */
export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  local.set("parlor.language", TAGS[language]);
  document.documentElement.lang = TAGS[language];
  for (const listener of listeners) listener();
}

export function onLanguage(listener) {
  listeners.push(listener);
}
