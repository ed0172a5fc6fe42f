// The adapter for Telegram bots by webhook: which file answers what.
//
// `receive` reads an update, `verify` says who may send one, `deliver` hands a reply over, `api` calls the Bot API,
// `markup` cuts markdown into messages. Nothing is kept in memory: each call may run in a fresh instance.

import { finish, update } from './deliver.js';
import { locate, receive } from './receive.js';

export const adapter = {
  receive,
  // A quoted message stands in the update itself.
  enrich: (message) => message,
  // Telegram never asks for a reply: it takes the message in with the response to the update.
  present: () => ({
    response: { status: 200, headers: [], body: new Uint8Array() },
    complete: false,
    checkpoint: new Uint8Array(),
    againWithinMs: null,
  }),
  update,
  finish,
  locate,
};
