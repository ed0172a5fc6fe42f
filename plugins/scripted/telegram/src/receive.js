// From an update to a message, and from a file's id to its bytes.

import { call, fileUrl } from './api.js';
import { gone, invalid } from './faults.js';
import { read, write } from './json.js';
import { setting } from './settings.js';
import { verify } from './verify.js';

const TEXT_LENGTH_MAX = 65_536;
/** What Telegram sends of one kind each; the order is that of preference. */
const FILES = [
  ['photo', 'image'],
  ['voice', 'audio'],
  ['audio', 'audio'],
  ['video', 'video'],
  ['video_note', 'video'],
  ['document', 'file'],
  ['sticker', 'image'],
];

/** Takes an update in. What is no message of a person to the bot is answered and passed over. */
export function receive(request) {
  try {
    verify(request);
    return reception(request);
  } catch (fault) {
    if (fault instanceof Error) throw fault;
    return { tag: 'refuse', val: fault };
  }
}

function reception(request) {
  if (request.method !== 'POST') throw invalid('an update comes by POST');
  const update = read(request.body);
  if (!Number.isSafeInteger(update?.update_id)) throw invalid('the body is no update of the Bot API');
  const message = update.message;
  if (message === undefined) return { tag: 'answer', val: accepted() };
  if (!isWhole(message)) throw invalid('the message of the update lacks its id, chat or date');
  if (message.from?.is_bot !== false) return { tag: 'answer', val: accepted() };
  return { tag: 'accept', val: { response: accepted(), messages: [read_message(update, message)], withdrawn: [] } };
}

const accepted = () => ({ status: 200, headers: [], body: new Uint8Array() });

const isWhole = (message) =>
  Number.isSafeInteger(message?.message_id) &&
  Number.isSafeInteger(message.chat?.id) &&
  Number.isSafeInteger(message.date) &&
  [message.text, message.caption].every((text) => text === undefined || typeof text === 'string');

function read_message(update, message) {
  const chat = message.chat.id;
  const thread = message.is_topic_message === true ? message.message_thread_id : undefined;
  const isPrivate = message.chat.type === 'private';
  const said = spoken(message);
  return {
    id: String(update.update_id),
    conversation: thread === undefined ? String(chat) : `${chat}:${thread}`,
    group: typeof message.media_group_id === 'string' ? message.media_group_id : null,
    scope: isPrivate ? 'direct' : 'group',
    sender: { id: String(message.from.id), name: name(message.from), extra: [] },
    addressed: isPrivate || said.isToBot || isReplyToBot(message),
    text: said.text.slice(0, TEXT_LENGTH_MAX),
    quoted: message.quote?.text ?? message.reply_to_message?.text ?? message.reply_to_message?.caption ?? null,
    attachments: attachments(message),
    context: [],
    sentAtMs: message.date * 1000,
    address: write({ chat, thread, replyTo: isPrivate ? undefined : message.message_id }),
    extra: [],
  };
}

function name(person) {
  const names = [person.first_name, person.last_name].filter((part) => typeof part === 'string');
  return names.length === 0 ? null : names.join(' ');
}

/** Text or caption without the mentions of the bot. Offsets count UTF-16 units, as strings here do. */
function spoken(message) {
  const text = message.text ?? message.caption ?? '';
  const entities = message.text === undefined ? message.caption_entities : message.entities;
  const bot = setting('bot_username')?.toLowerCase();
  let isToBot = false;
  let left = text;
  for (const { type, offset, length } of [...(entities ?? [])].reverse()) {
    const at = text.slice(offset, offset + length).toLowerCase();
    if (bot === undefined || !at.endsWith(`@${bot}`)) continue;
    if (type === 'mention') left = left.slice(0, offset) + left.slice(offset + length);
    else if (type === 'bot_command') left = left.slice(0, offset + at.indexOf('@')) + left.slice(offset + length);
    else continue;
    isToBot = true;
  }
  return { text: left.trim(), isToBot };
}

function isReplyToBot(message) {
  const author = message.reply_to_message?.from;
  const bot = setting('bot_username')?.toLowerCase();
  return author?.is_bot === true && bot !== undefined && author.username?.toLowerCase() === bot;
}

function attachments(message) {
  return FILES.flatMap(([field, kind]) => {
    // A photo comes in several sizes, the largest last.
    const file = Array.isArray(message[field]) ? message[field].at(-1) : message[field];
    if (typeof file?.file_id !== 'string') return [];
    const text = (value) => (typeof value === 'string' ? value : null);
    return [{ kind, name: text(file.file_name), mediaType: text(file.mime_type), reference: file.file_id, extra: [] }];
  });
}

/** Where a file's bytes are; the address lives for an hour. */
export function locate(reference) {
  const { result } = call('getFile', { file_id: reference }, 'files');
  if (typeof result?.file_path !== 'string') throw gone('Telegram does not hand this file out');
  const request = { method: 'GET', url: fileUrl(result.file_path), headers: [], body: [], timeoutMs: null };
  return { request: { ...request, limitKey: 'files' }, key: null };
}
