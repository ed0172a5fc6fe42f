// What a model writes, as a fragment of the page: markdown-it without HTML, then DOMPurify as a second line.
// Nothing in it runs or loads: no scripts, no styles, no pictures. It knows nothing of messages or streams.

import markdownit from "./vendor/markdown-it.js";
import "./vendor/purify.js";

import { text } from "./texts.js";

const purifier = globalThis.DOMPurify(window);
const markdown = markdownit({ html: false, linkify: true, breaks: true });
// Only what says that it is an address: `main.rs` and `README.md` are files.
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

const ALLOWED = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["align", "class", "href", "start", "title"],
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Every link opens elsewhere and tells nobody where it came from. */
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A" || !node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** A picture of the model's would tell its server that somebody reads: a link to it loads nothing. */
markdown.renderer.rules.image = (tokens, index) => {
  const { escapeHtml } = markdown.utils;
  const source = tokens[index].attrGet("src");
  const words = `<span class="picture">${escapeHtml(text("picture"))} ${escapeHtml(tokens[index].content || source)}</span>`;
  return isInLink(tokens, index) ? words : `<a href="${escapeHtml(source)}">${words}</a>`;
};

function isInLink(tokens, index) {
  const depth = (sum, { type }) => sum + (type === "link_open") - (type === "link_close");
  return tokens.slice(0, index).reduce(depth, 0) > 0;
}

/** The policy of the page forbids style attributes, so cells are aligned by the attribute of old. */
for (const cell of ["th_open", "td_open"]) {
  markdown.renderer.rules[cell] = (tokens, index, options, env, self) => {
    const token = tokens[index];
    const style = token.attrGet("style");
    token.attrs = style ? [["align", style.replace("text-align:", "")]] : null;
    return self.renderToken(tokens, index, options);
  };
}

/** @returns {DocumentFragment} */
export function render(source) {
  return purifier.sanitize(markdown.render(source), ALLOWED);
}

/**
 * How many characters of a growing text lie before its last block: those are done, whatever follows. But for
 * definitions of references, which `hasReferences` tells.
 */
export function settledLength(source) {
  const isBlock = ({ level, map, nesting }) => level === 0 && map && nesting >= 0;
  const blocks = markdown.parse(source, {}).filter(isBlock);
  return blocks.length < 2 ? 0 : lineStart(source, blocks.at(-1).map[0]);
}

function lineStart(source, line) {
  let at = 0;
  for (let passed = 0; passed < line; passed += 1) at = source.indexOf("\n", at) + 1;
  return at;
}

/** Whether a text has lines such as `[1]: https://…`, which change what stands before them. */
export function hasReferences(source) {
  return /^ {0,3}\[[^\]]+\]:/m.test(source);
}
