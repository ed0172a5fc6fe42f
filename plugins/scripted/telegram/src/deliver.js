// Handing a reply over: a message that grows while the model speaks, then the whole reply in as many as it takes.
//
// One request a call. The checkpoint tells which message is open, how many are final, and what was learnt.

import { call, Refusal } from './api.js';
import { gone, internal, invalid } from './faults.js';
import { read, write } from './json.js';
import { html, split } from './markup.js';
import { setting } from './settings.js';

/** Shows the text so far; without any, or without news, a sign that the bot is typing. */
export function update(address, key, checkpoint, text) {
  const state = decode(checkpoint);
  const to = destination(address, state);
  const [part] = split(text);
  if (part === undefined || part === state.shown) {
    attempt(() => call('sendChatAction', { ...place(to), action: 'typing' }, `typing ${to.chat}`));
    return checkpoint;
  }
  show(to, state, part);
  return write({ ...state, shown: state.learnt ? state.shown : part, learnt: undefined });
}

/** Sends the next message of the reply, or makes the open one final. */
export function finish(address, key, checkpoint, reply) {
  const state = decode(checkpoint);
  const to = destination(address, state);
  const parts = split(reply.text);
  if (state.sent < parts.length) {
    show(to, state, parts[state.sent]);
    if (state.learnt) return more({ ...state, learnt: undefined });
    state.sent += 1;
    if (state.open !== undefined) state.ids.push(String(state.open));
    state.open = state.shown = undefined;
  }
  return state.sent < parts.length ? more(state) : { tag: 'done', val: { ids: state.ids } };
}

const more = (state) => ({ tag: 'more', val: write(state) });

/** Puts a text into the open message or a new one. What a refusal teaches is noted for the next call. */
function show(to, state, text) {
  const body = state.plain ? { text } : { text: html(text), parse_mode: 'HTML' };
  const options = { ...body, link_preview_options: { is_disabled: true } };
  try {
    if (state.open === undefined) {
      state.open = call('sendMessage', { ...place(to), ...reference(to), ...options }, to.chat).result?.message_id;
    } else {
      call('editMessageText', { chat_id: to.chat, message_id: state.open, ...options }, to.chat);
    }
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    learn(state, refusal);
  }
}

function learn(state, { text, movedTo }) {
  if (text.includes('message is not modified')) return;
  state.learnt = true;
  if (text.includes("can't parse entities") && !state.plain) state.plain = true;
  else if (/message (to edit not found|can't be edited)/.test(text)) state.open = undefined;
  else if (Number.isSafeInteger(movedTo) && movedTo !== state.movedTo) state.movedTo = movedTo;
  else if (text.includes('chat not found')) throw gone('Telegram knows no such chat');
  else throw invalid('Telegram refuses the message');
}

/** A sign that fails is no loss. */
function attempt(act) {
  try {
    act();
  } catch (trouble) {
    if (trouble instanceof Error) throw trouble;
  }
}

const place = ({ chat, thread }) => ({ chat_id: chat, message_thread_id: thread });

const reference = ({ replyTo }) =>
  replyTo === undefined ? {} : { reply_parameters: { message_id: replyTo, allow_sending_without_reply: true } };

/** Where a reply goes: the address of the message, else the channel's own destination. */
function destination(address, state) {
  const to = address.length === 0 ? { chat: setting('chat_id') } : own(address, isAddress);
  if (to.chat === undefined) throw gone('the channel has no destination of its own: set `chat_id`');
  return state.movedTo === undefined ? to : { chat: state.movedTo };
}

const decode = (checkpoint) => (checkpoint.length === 0 ? { sent: 0, ids: [] } : own(checkpoint, isCheckpoint));

const isAddress = ({ chat }) => Number.isSafeInteger(chat);

const isCheckpoint = ({ sent, ids }) => Number.isSafeInteger(sent) && sent >= 0 && Array.isArray(ids);

function own(bytes, isOwn) {
  const value = read(bytes);
  if (typeof value !== 'object' || value === null || !isOwn(value)) {
    throw internal('an address or a checkpoint is not one that this plugin wrote');
  }
  return value;
}
