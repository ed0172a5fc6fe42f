// Text to bytes and back: the interpreter has neither `TextEncoder` nor `TextDecoder`.
//
// `encodeURIComponent` writes UTF-8 as `%XX`, and `unescape` makes a character of each of these bytes.

/** So many arguments a call takes at least. */
const CHUNK_LENGTH = 4_096;

/** The UTF-8 of a text. */
export const encode = (text) =>
  Uint8Array.from(unescape(encodeURIComponent(text)), (byte) => byte.charCodeAt(0));

/** The text of bytes; throws if they are no UTF-8. */
export function decode(bytes) {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += CHUNK_LENGTH) {
    pieces.push(String.fromCharCode(...bytes.subarray(at, at + CHUNK_LENGTH)));
  }
  return decodeURIComponent(escape(pieces.join('')));
}
