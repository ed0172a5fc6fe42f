// The conversations that this browser keeps. Each has two entries, a small head for the list and its messages,
// and none is shared between conversations, so that tabs do not write over each other's.
// It knows what is kept and how much, not what is shown.

import { local } from "./storage.js";

export const CONVERSATIONS_MAX = 100;
/** Of one conversation; what was said before is forgotten here. */
const MESSAGES_MAX = 400;
/** All messages together, in characters: browsers give about five million. */
const CHARS_MAX = 3_000_000;
const HEAD = "parlor.head.";
const BODY = "parlor.body.";

/** [{id, title, used, chars, isWaiting}], the one used last in front. */
export function heads() {
  const names = local.names().filter((name) => name.startsWith(HEAD));
  const read = names.map((name) => ({ id: name.slice(HEAD.length), ...parse(local.get(name)) }));
  return read.sort((one, other) => (other.used ?? 0) - (one.used ?? 0));
}

/** {id, title, used, messages}, or null where it is not kept. */
export function load(id) {
  const head = parse(local.get(HEAD + id));
  const messages = parse(local.get(BODY + id));
  if (!head || !Array.isArray(messages)) return null;
  return { id, title: head.title, used: head.used, messages: messages.filter(isMessage) };
}

/** Whether it is kept; older ones make room. */
export function save({ id, title, used, messages }) {
  const body = JSON.stringify(messages.slice(-MESSAGES_MAX));
  const isWaiting = messages.some(({ state }) => state === "waiting");
  makeRoom(id, body.length);
  while (!put(id, { title, used, chars: body.length, isWaiting }, body)) {
    if (!removeOldest(id)) return false;
  }
  return true;
}

export function remove(id) {
  local.remove(HEAD + id);
  local.remove(BODY + id);
}

export function removeAll() {
  for (const { id } of heads()) remove(id);
}

/** Whether a name of the storage is one of the shelf's, for who listens to other tabs. */
export function isShelfs(name) {
  return name === null || name.startsWith(HEAD) || name.startsWith(BODY);
}

/** Another version of the page may have written otherwise. */
function isMessage(found) {
  return ["person", "answer"].includes(found?.role) && typeof found.text === "string";
}

function put(id, head, body) {
  const isKept = local.set(BODY + id, body);
  return local.set(HEAD + id, JSON.stringify(head)) && isKept;
}

function makeRoom(id, chars) {
  const others = heads().filter((head) => head.id !== id);
  let sum = others.reduce((sum, head) => sum + (head.chars ?? 0), chars);
  while (others.length >= CONVERSATIONS_MAX || (sum > CHARS_MAX && others.length > 0)) {
    const oldest = others.pop();
    sum -= oldest.chars ?? 0;
    remove(oldest.id);
  }
}

function removeOldest(exceptId) {
  const oldest = heads().filter(({ id }) => id !== exceptId).at(-1);
  if (oldest) remove(oldest.id);
  return Boolean(oldest);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
