// JSON from outside: refused before it is parsed where it nests deeper than any update does, and bytes of our own.

import { decode, encode } from './utf8.js';

const DEPTH_MAX = 32;

/** The value of UTF-8 bytes; `undefined` if they are no JSON, or JSON that nests too deep. */
export function read(bytes) {
  let text;
  try {
    text = decode(bytes);
    return isDeep(text) ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Bytes of a value, as this plugin reads them back. */
export const write = (value) => encode(JSON.stringify(value));

function isDeep(text) {
  const marks = /["[\]{}]/g;
  let open = 0;
  for (let found = marks.exec(text); found !== null; found = marks.exec(text)) {
    const [mark] = found;
    if (mark === '"') marks.lastIndex = behindText(text, found.index + 1);
    else if (mark === ']' || mark === '}') open--;
    else if (++open > DEPTH_MAX) return true;
  }
  return false;
}

/** Where a text ends that begins here. */
function behindText(text, from) {
  let end = text.indexOf('"', from);
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end === -1 ? text.length : end + 1;
}

function isEscaped(text, at) {
  let before = at;
  while (text[before - 1] === '\\') before--;
  return (at - before) % 2 === 1;
}
