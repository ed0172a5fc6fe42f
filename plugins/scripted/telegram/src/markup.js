// Markdown for a platform that takes a few HTML tags and 4,096 UTF-16 units a message.

/** Telegram counts what is left when the tags are read; what has them still is never shorter. */
const UNITS_MAX = 4_096;
/** Room for the line that closes a fence. */
const CLOSING_UNITS = 17;
const FENCE = /^ {0,3}(`{3,16}|~{3,16})[^`\n]*$/;

/** Markdown in parts that fit one message each, cut between paragraphs, lines or words where that is possible. */
export function split(markdown) {
  const parts = [];
  let rest = markdown.trim();
  let open = '';
  while (rest !== '') {
    const head = open === '' ? '' : `${open}\n`;
    const { part, cut } = longest(head, rest);
    parts.push(part);
    open = openFence(head + rest.slice(0, cut));
    rest = open === '' ? rest.slice(cut).trimStart() : rest.slice(cut).replace(/^\n/, '');
    // The fence was closed already.
    if (open !== '' && rest.trim() === marker(open)) break;
  }
  return parts.filter((part) => part.trim() !== '');
}

/** The longest part that still fits when its markup has become tags. */
function longest(head, rest) {
  let room = UNITS_MAX - CLOSING_UNITS - head.length;
  for (;;) {
    const cut = rest.length <= room ? rest.length : boundary(rest, room);
    const body = (head + rest.slice(0, cut)).trimEnd();
    const open = openFence(body);
    const part = open === '' ? body : `${body}\n${marker(open)}`;
    if (html(part).length <= UNITS_MAX || room < 64) return { part, cut };
    room = Math.floor(room * 0.8);
  }
}

/** The end of the last paragraph, line or word in the window's second half, else of its last whole character. */
function boundary(text, room) {
  const window = text.slice(0, room);
  for (const separator of ['\n\n', '\n', ' ']) {
    const end = window.lastIndexOf(separator) + separator.length;
    if (end - separator.length > room / 2) return end;
  }
  let end = room;
  while (end > room / 2 && isInside(text, end)) end--;
  return end;
}

/** Whether a cut here would tear a character that is made of several: an emoji, a flag, a letter with its accents. */
function isInside(text, at) {
  const before = text.charCodeAt(at - 1);
  const after = text.codePointAt(at);
  const isHalf = before >= 0xd800 && before < 0xdc00;
  const isMark = /^[\p{M}\u200d\ufe0f\u{1f3fb}-\u{1f3ff}\u{1f1e6}-\u{1f1ff}]/u.test(String.fromCodePoint(after));
  return isHalf || isMark || before === 0x200d;
}

/** The line that opens the fence in which a text ends; empty if it ends in none. */
function openFence(text) {
  let open = '';
  for (const line of text.split('\n')) {
    if (open === '') open = FENCE.test(line) ? line.trim() : '';
    else if (line.trim().startsWith(marker(open)) && line.trim().length <= 16) open = '';
  }
  return open;
}

const marker = (line) => /^(`+|~+)/.exec(line)?.[0] ?? '';

/** Markdown as Telegram's HTML. Tags are closed where they are opened, in one line or one fence. */
export function html(markdown) {
  const out = [];
  let fence = '';
  for (const line of markdown.split('\n')) {
    if (fence === '' && FENCE.test(line)) {
      fence = marker(line.trim());
      const language = line.trim().slice(fence.length).trim().replace(/[^\w+#-]/g, '');
      out.push(language === '' ? '<pre>' : `<pre><code class="language-${language}">`);
      if (language !== '') fence += ' ';
    } else if (fence !== '' && line.trim() === fence.trim()) {
      out.push(closing(fence));
      fence = '';
    } else {
      out.push(`${fence === '' ? inline(line) : escape(line)}\n`);
    }
  }
  if (fence !== '') out.push(closing(fence));
  return out.join('').trimEnd();
}

const closing = (fence) => (fence.endsWith(' ') ? '</code></pre>\n' : '</pre>\n');

const escape = (text) =>
  text.replace(/[&<>"]/g, (mark) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[mark]);

/** Code first, since nothing counts inside it. */
function inline(line) {
  const heading = /^#{1,6} +(.*)$/.exec(line);
  if (heading !== null) return `<b>${words(heading[1])}</b>`;
  return words(line);
}

const words = (line) =>
  line
    .split(/(`[^`\n]+`)/)
    .map((piece, at) => (at % 2 === 1 ? `<code>${escape(piece.slice(1, -1))}</code>` : marked(escape(piece))))
    .join('');

const marked = (text) =>
  text
    .replace(/\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g, '<a href="$2">$1</a>')
    .replace(/\*\*([^*\n]+)\*\*/g, '<b>$1</b>')
    .replace(/(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])/g, '<i>$1</i>')
    .replace(/~~([^~\n]+)~~/g, '<s>$1</s>');
